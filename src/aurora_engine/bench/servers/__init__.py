"""Database servers, each started on a private folder and a Unix socket, and stopped again."""

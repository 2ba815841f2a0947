/* The fields of an SQLite file's header that matter here: https://sqlite.org/fileformat2.html. */
#ifndef AUR_SQL_SQLITE_FILE_H
#define AUR_SQL_SQLITE_FILE_H

enum {
    SQLITE_HEADER_PAGE_SIZE_AT = 16,      /* u16 big-endian; 1 stands for 65536 */
    SQLITE_HEADER_WRITE_VERSION_AT = 18,  /* u8; 2: WAL */
    SQLITE_HEADER_READ_VERSION_AT = 19,   /* u8 */
    SQLITE_HEADER_RESERVED_AT = 20,       /* u8 bytes at the end of each page */
    SQLITE_HEADER_FRACTIONS_AT = 21,      /* 3 bytes: 64, 32, 32 */
    SQLITE_HEADER_CHANGE_COUNTER_AT = 24, /* u32 big-endian */
    SQLITE_HEADER_COOKIE_AT = 40,         /* u32 big-endian: counts the changes of the schema */
    SQLITE_HEADER_VALID_FOR_AT = 92, /* u32 big-endian: the counter when the size was written */
    SQLITE_HEADER_BYTES = 100,
};

#endif

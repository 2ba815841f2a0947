/* Threads of the core. */
#ifndef AUR_BASE_THREAD_H
#define AUR_BASE_THREAD_H

#include <pthread.h>

#include "base/status.h"

/* Starts a thread that leaves all signals to the threads of the application. AUR_ERR_MEMORY: there
 * can be no more of them. */
aur_status aur_thread_start(pthread_t *thread, void *(*body)(void *), void *argument) AUR_CHECKED;

#endif

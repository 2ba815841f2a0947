/* Threads of the core. */
#include "base/thread.h"

#include <signal.h>

aur_status aur_thread_start(pthread_t *thread, void *(*body)(void *), void *argument) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int outcome = pthread_create(thread, NULL, body, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return outcome == 0 ? AUR_OK : AUR_ERR_MEMORY;
}

/* Loaded before a host's kernel, so that it stays suspended until SIGUSR1 wakes it.

   Debian's kernel goes all the way into its suspend, with clocks and timer off, and then waits as
   when it is idle: for its timer. A timer that is off it takes for one that has just gone off, and
   wakes at once (os_idle_sleep in Linux 6.1). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

static int is_off;

int timer_settime(timer_t timer, int flags, const struct itimerspec *set, struct itimerspec *was)
{
    int (*next)(timer_t, int, const struct itimerspec *, struct itimerspec *) =
        dlsym(RTLD_NEXT, "timer_settime");
    is_off = set->it_value.tv_sec == 0 && set->it_value.tv_nsec == 0;
    return next(timer, flags, set, was);
}

int timer_gettime(timer_t timer, struct itimerspec *left)
{
    int (*next)(timer_t, struct itimerspec *) = dlsym(RTLD_NEXT, "timer_gettime");
    if (is_off)
        pause();
    return next(timer, left);
}

/* Prints pairs of the processor's time stamp counter, which all hosts share, and the system's
   clock in nanoseconds, with the error in microseconds that the kernel states of it: -1 for a clock
   that is not synchronized. With an argument it prints two pairs of the counter and of the clock
   that nobody steers, a second apart: they tell how fast the counter counts. */

#include <stdio.h>
#include <sys/timex.h>
#include <time.h>
#include <x86intrin.h>

static void tell(clockid_t clock, long error)
{
    unsigned long long least = -1, at = 0;
    long long shown = 0;
    for (int i = 0; i < 12; i++) {
        struct timespec now;
        unsigned long long before = __rdtsc();
        clock_gettime(clock, &now);
        unsigned long long took = __rdtsc() - before;
        if (took < least) {
            least = took;
            at = before + took / 2;
            shown = now.tv_sec * 1000000000LL + now.tv_nsec;
        }
    }
    printf("@ %llu %lld %ld\n", at, shown, error);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct timespec second = { 1, 0 }, tenth = { 0, 100000000 };
    if (argc > 1) {
        tell(CLOCK_MONOTONIC_RAW, 0);
        nanosleep(&second, NULL);
        tell(CLOCK_MONOTONIC_RAW, 0);
        return 0;
    }
    for (;;) {
        struct timex told = { 0 };
        adjtimex(&told);
        tell(CLOCK_REALTIME, told.status & STA_UNSYNC ? -1 : told.maxerror);
        nanosleep(&tenth, NULL);
    }
}

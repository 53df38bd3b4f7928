/* Prints pairs of the processor's time stamp counter, which all hosts share, and the system's
   clock in nanoseconds, with the largest error in microseconds that the kernel states of it, -1 for
   a clock that is not synchronized, and the error that it knows of. With an argument it prints two
   pairs of the counter and of the clock that nobody steers, a second apart: they tell how fast the
   counter counts. */

#include <stdio.h>
#include <sys/timex.h>
#include <time.h>
#include <x86intrin.h>

static void tell(clockid_t clock, long largest, long known)
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
    printf("@ %llu %lld %ld %ld\n", at, shown, largest, known);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct timespec second = { 1, 0 }, tenth = { 0, 100000000 };
    if (argc > 1) {
        tell(CLOCK_MONOTONIC_RAW, 0, 0);
        nanosleep(&second, NULL);
        tell(CLOCK_MONOTONIC_RAW, 0, 0);
        return 0;
    }
    for (;;) {
        struct timex told = { 0 };
        adjtimex(&told);
        long largest = told.status & STA_UNSYNC ? -1 : told.maxerror;
        tell(CLOCK_REALTIME, largest, told.esterror);
        nanosleep(&tenth, NULL);
    }
}

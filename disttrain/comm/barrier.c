/* A barrier for the ranks of one node, in memory that they share; called by ctypes and by recorded
   steps. A rank that waits spins for some microseconds, then sleeps, and comes back to the caller
   after about a millisecond, so that signals, deadlines and messages are looked after meanwhile. */

#define _GNU_SOURCE

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define SPIN_NANOSECONDS 20000
#define SLEEP_NANOSECONDS 1000000

/* In shared memory, zero at the beginning: each number on a cache line of its own. */
typedef struct {
    _Alignas(64) _Atomic uint32_t arrived;
    _Alignas(64) _Atomic uint32_t round;
    _Alignas(64) _Atomic uint32_t sleepers;
} Shared;

/* One rank's side. `spins` is 0 where the ranks share cores: a rank that spins would hold one up. */
typedef struct {
    Shared *shared;
    uint32_t ranks, spins, waits, round;
} Barrier;

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void sleep_while(Shared *shared, uint32_t round) {
    struct timespec most = {0, SLEEP_NANOSECONDS};
#ifdef __linux__
    atomic_fetch_add(&shared->sleepers, 1);
    syscall(SYS_futex, &shared->round, FUTEX_WAIT, round, &most, NULL, 0);
    atomic_fetch_sub(&shared->sleepers, 1);
#else
    most.tv_nsec /= 20;
    if (atomic_load(&shared->round) == round) nanosleep(&most, NULL);
#endif
}

/* Return 1 when all ranks have called it, 0 while they have not: call it again then. */
int barrier_wait(Barrier *barrier) {
    Shared *shared = barrier->shared;
    if (!barrier->waits) {
        barrier->round = atomic_load(&shared->round);
        if (atomic_fetch_add(&shared->arrived, 1) + 1 == barrier->ranks) {
            atomic_store(&shared->arrived, 0);
            atomic_fetch_add(&shared->round, 1);
#ifdef __linux__
            if (atomic_load(&shared->sleepers))
                syscall(SYS_futex, &shared->round, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
#endif
            return 1;
        }
        barrier->waits = 1;
        for (int64_t end = barrier->spins ? nanoseconds() + SPIN_NANOSECONDS : 0; end;) {
            for (int i = 0; i < 32; i++) {
                if (atomic_load(&shared->round) != barrier->round) goto over;
                pause_briefly();
            }
            if (nanoseconds() > end) break;
        }
    }
    if (atomic_load(&shared->round) == barrier->round) sleep_while(shared, barrier->round);
    if (atomic_load(&shared->round) == barrier->round) return 0;
over:
    barrier->waits = 0;
    return 1;
}

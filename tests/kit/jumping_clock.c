/* A wall clock that a test sets: what the process is told is the real time and an offset, in
 * nanoseconds, out of the file that JUMPING_CLOCK_FILE names. Monotonic clocks are left alone.
 *
 * Waits until a moment of the wall clock are given to the kernel in its own time; a jump does not
 * lengthen or shorten those that have begun.
 *
 *   cc -shared -fPIC -O2 -o jumping_clock.so jumping_clock.c -ldl -lpthread
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static volatile int64_t none, *offset = &none;

__attribute__((constructor)) static void map_the_file(void) {
    const char *path = getenv("JUMPING_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) offset = mapped;
    close(file);
}

static struct timespec moved(struct timespec at, int64_t by) {
    int64_t ns = at.tv_sec * SECOND + at.tv_nsec + by;
    return (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (syscall(SYS_clock_gettime, clock, at)) return -1;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) *at = moved(*at, *offset);
    return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *at = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    /* By pthread_cond_clockwait, whose name has had one version only. */
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!wait) *(void **)&wait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    /* Only its maker knows by which clock a condition waits; no machine has been up for 31 years. */
    if (until->tv_sec < 1000000000) return wait(cond, mutex, CLOCK_MONOTONIC, until);
    struct timespec real = moved(*until, -*offset);
    return wait(cond, mutex, CLOCK_REALTIME, &real);
}

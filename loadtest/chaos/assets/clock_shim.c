/* Shifts the wall clock of single processes. Preloaded into a stack's Python processes; a table in a
   shared file says whose clock is off, and by how much. Monotonic clocks are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 16
#define NS 1000000000LL

struct entry {
    int64_t pid;
    int64_t offset_ns;
};

static volatile struct entry *table;
static int is_looked_for;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void look(void) {
    const char *path = getenv("TALLY_CLOCK_TABLE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    real_clock_gettime =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (file >= 0) {
        void *found = mmap(NULL, ENTRIES * sizeof(struct entry), PROT_READ, MAP_SHARED, file, 0);
        if (found != MAP_FAILED)
            table = found;
        close(file);
    }
    is_looked_for = 1;
}

static int64_t offset_ns(void) {
    int64_t pid;
    if (!table)
        return 0;
    pid = getpid();
    for (int index = 0; index < ENTRIES; index++)
        if (table[index].pid == pid)
            return table[index].offset_ns;
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result;
    if (!is_looked_for)
        look();
    result = real_clock_gettime(clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = at->tv_sec * NS + at->tv_nsec + offset_ns();
        at->tv_sec = ns / NS;
        at->tv_nsec = ns % NS;
    }
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

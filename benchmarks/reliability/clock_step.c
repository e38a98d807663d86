/*
 * A clock that can be stepped for some processes only, without touching the machine's.
 *
 * Preloaded; CLOCK_STEP_FILE holds seconds as a 64-bit integer, mapped by all of them, so a step is
 * seen at once. It moves what a step of the real clock moves: the time of day, and the boot time in
 * /proc/stat, which the kernel computes from it. The monotonic clock stays, as it does in reality.
 *
 * Not libfaketime: with 0.9.10, Python 3.11's time.sleep fails (EINVAL) when the monotonic clock is
 * left alone, and Event.wait hangs when it is not.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *step_s;

static int raw_open(const char *path, int flags, mode_t mode) {
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

__attribute__((constructor)) static void map_step(void) {
  const char *path = getenv("CLOCK_STEP_FILE");
  int fd = path ? raw_open(path, O_RDONLY | O_CLOEXEC, 0) : -1;
  if (fd < 0) return;
  void *found = mmap(NULL, sizeof *step_s, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (found != MAP_FAILED) step_s = found;
}

static int64_t step(void) { return step_s ? *step_s : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real ? real(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += step();
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec precise;
  int failed = clock_gettime(CLOCK_REALTIME, &precise);
  if (!failed && now) *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
  return failed;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

/* Return a copy of /proc/stat whose boot time has moved along. */
static int open_stat(int flags) {
  int fd = raw_open("/proc/stat", O_RDONLY, 0), copy = memfd_create("stat", MFD_CLOEXEC);
  FILE *from = fd < 0 ? NULL : fdopen(fd, "r");
  char *line = NULL;
  size_t room = 0;
  long long booted;
  (void)flags;
  while (from && getline(&line, &room, from) > 0) {
    if (sscanf(line, "btime %lld", &booted) == 1)
      dprintf(copy, "btime %lld\n", booted + (long long)step());
    else
      dprintf(copy, "%s", line);
  }
  free(line);
  if (from) fclose(from);
  lseek(copy, 0, SEEK_SET);
  return copy;
}

int open(const char *path, int flags, ...) {
  mode_t mode = 0;
  if (flags & (O_CREAT | O_TMPFILE)) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  return step() && !strcmp(path, "/proc/stat") ? open_stat(flags) : raw_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  mode_t mode = 0;
  if (flags & (O_CREAT | O_TMPFILE)) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  return step() && !strcmp(path, "/proc/stat") ? open_stat(flags) : raw_open(path, flags | O_LARGEFILE, mode);
}

/* A disk that fails, and that tells what was asked of it: preloaded (LD_PRELOAD) before a process that opens a store.
 *
 * Calls on files below one folder (names ending in -shm apart: shared memory, gone after a power cut) are counted, may be
 * made to fail from the n-th on, and are written to a log in the order in which they took effect. `disk_log.py` makes of
 * a log what a disk may hold after a power cut at any of its lines. Nothing is armed until the process asks (ctypes).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDS 4096
/* bits of what may fail */
#define WRITES 1
#define SYNCS 2
#define OTHERS 4 /* truncate, unlink, making a file */

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static char folder[3072];
static char *paths[FDS]; /* of open files below the folder; NULL: not ours */
static char names[FDS][3200];
static int log_fd = -1;
static long calls, fail_first, fail_count, quota = -1, used;
static int fail_errno, fail_short, fail_kinds;

#define REAL(result, name, ...)                                                                                        \
    static result (*real_##name)(__VA_ARGS__);                                                                         \
    if (!real_##name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

/* ---- asked by the process ---- */

void faulty_disk_folder(const char *path) {
    snprintf(folder, sizeof folder, "%s", path);
}

/* The n-th call of these kinds from now (1 is the next) and `count` - 1 after it fail; a failing write may be short. */
void faulty_disk_arm(long n, long count, int error, int shorten, int kinds) {
    pthread_mutex_lock(&one);
    calls = 0, fail_first = n, fail_count = count, fail_errno = error, fail_short = shorten, fail_kinds = kinds;
    pthread_mutex_unlock(&one);
}

/* From now on files may grow by so many bytes together; -1: without end. */
void faulty_disk_quota(long bytes) {
    pthread_mutex_lock(&one);
    quota = bytes, used = 0;
    pthread_mutex_unlock(&one);
}

long faulty_disk_calls(void) {
    return calls;
}

void faulty_disk_log(int fd) {
    log_fd = fd;
}

/* ---- within the lock ---- */

static int fails(int kind) {
    if (!(kind & fail_kinds)) return 0;
    calls++;
    return fail_first > 0 && calls >= fail_first && calls < fail_first + fail_count;
}

static void put(const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    while (size > 0) {
        ssize_t done = real_write(log_fd, data, size);
        if (done <= 0) return;
        data = (const char *)data + done;
        size -= (size_t)done;
    }
}

/* A line: kind, length of the path, offset, length of the data; path; data. */
static void tell(char kind, const char *path, int64_t offset, const void *data, size_t size) {
    struct __attribute__((packed)) {
        char kind;
        uint16_t path;
        int64_t offset;
        uint64_t size;
    } head = {kind, (uint16_t)strlen(path), offset, size};
    if (log_fd < 0) return;
    put(&head, sizeof head);
    put(path, head.path);
    if (size) put(data, size);
}

static int ours(const char *path) {
    size_t length = strlen(path), base = strlen(folder);
    if (!base || strncmp(path, folder, base) || (path[base] != '/' && path[base] != 0)) return 0;
    return length < 4 || strcmp(path + length - 4, "-shm");
}

static const char *of(int fd) {
    return fd >= 0 && fd < FDS ? paths[fd] : NULL;
}

/* ---- calls of the C library ---- */

static int opened(int folder_fd, const char *path, int flags, mode_t mode) {
    REAL(int, openat, int, const char *, int, ...);
    if (path[0] != '/' || !ours(path)) return real_openat(folder_fd, path, flags, mode);
    pthread_mutex_lock(&one);
    struct stat before;
    int is_new = (flags & O_CREAT) && stat(path, &before) != 0, fd = -1;
    if (is_new && fails(OTHERS)) {
        errno = fail_errno;
    } else {
        fd = real_openat(folder_fd, path, flags, mode);
    }
    if (fd >= 0 && fd < FDS) {
        snprintf(names[fd], sizeof names[fd], "%s", path);
        paths[fd] = names[fd];
        if (is_new) tell('C', path, 0, NULL, 0);
        if (!is_new && (flags & O_TRUNC)) tell('T', path, 0, NULL, 0);
    }
    pthread_mutex_unlock(&one);
    return fd;
}

#define OPENED(name)                                                                                                   \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;                                                    \
        va_end(rest);                                                                                                  \
        return opened(AT_FDCWD, path, flags, mode);                                                                    \
    }
OPENED(open)
OPENED(open64)

int close(int fd) {
    REAL(int, close, int);
    pthread_mutex_lock(&one);
    if (of(fd)) paths[fd] = NULL;
    pthread_mutex_unlock(&one);
    return real_close(fd);
}

static ssize_t written(int fd, const void *data, size_t size, off_t offset, int positioned) {
    REAL(ssize_t, write, int, const void *, size_t);
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    const char *path = of(fd);
    if (!path) return positioned ? real_pwrite(fd, data, size, offset) : real_write(fd, data, size);
    pthread_mutex_lock(&one);
    struct stat now;
    fstat(fd, &now);
    if (!positioned) offset = lseek(fd, 0, SEEK_CUR);
    long growth = offset + (off_t)size > now.st_size ? (long)(offset + (off_t)size - now.st_size) : 0;
    int is_full = quota >= 0 && used + growth > quota, does_fail = fails(WRITES);
    ssize_t done = -1;
    if (is_full || (does_fail && !fail_short)) {
        errno = is_full ? ENOSPC : fail_errno;
    } else {
        if (does_fail) size = size / 2;
        done = positioned ? real_pwrite(fd, data, size, offset) : real_write(fd, data, size);
        if (done > 0) {
            used += growth;
            tell('W', path, offset, data, (size_t)done);
        }
    }
    pthread_mutex_unlock(&one);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    return written(fd, data, size, 0, 0);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return written(fd, data, size, offset, 1);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    return written(fd, data, size, offset, 1);
}

static int synced(int fd, int data_only) {
    REAL(int, fsync, int);
    REAL(int, fdatasync, int);
    const char *path = of(fd);
    if (!path) return data_only ? real_fdatasync(fd) : real_fsync(fd);
    pthread_mutex_lock(&one);
    struct stat kind;
    fstat(fd, &kind);
    int result = -1;
    if (fails(SYNCS)) {
        tell(S_ISDIR(kind.st_mode) ? 'G' : 'F', path, 0, NULL, 0);
        errno = fail_errno;
    } else {
        /* The disk below is not waited for: this file layer is the disk. */
        result = 0;
        tell(S_ISDIR(kind.st_mode) ? 'D' : 'S', path, 0, NULL, 0);
    }
    pthread_mutex_unlock(&one);
    return result;
}

int fsync(int fd) {
    return synced(fd, 0);
}

int fdatasync(int fd) {
    return synced(fd, 1);
}

static int truncated(int fd, off_t size) {
    REAL(int, ftruncate, int, off_t);
    const char *path = of(fd);
    if (!path) return real_ftruncate(fd, size);
    pthread_mutex_lock(&one);
    int result = -1;
    if (fails(OTHERS)) {
        errno = fail_errno;
    } else {
        result = real_ftruncate(fd, size);
        if (result == 0) tell('T', path, size, NULL, 0);
    }
    pthread_mutex_unlock(&one);
    return result;
}

int ftruncate(int fd, off_t size) {
    return truncated(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    return truncated(fd, size);
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    if (!ours(path)) return real_unlink(path);
    pthread_mutex_lock(&one);
    int result = -1;
    if (fails(OTHERS)) {
        errno = fail_errno;
    } else {
        result = real_unlink(path);
        if (result == 0) tell('U', path, 0, NULL, 0);
    }
    pthread_mutex_unlock(&one);
    return result;
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    if (!ours(from) || !ours(to)) return real_rename(from, to);
    pthread_mutex_lock(&one);
    int result = -1;
    if (fails(OTHERS)) {
        errno = fail_errno;
    } else {
        result = real_rename(from, to);
        if (result == 0) tell('R', from, 0, to, strlen(to));
    }
    pthread_mutex_unlock(&one);
    return result;
}

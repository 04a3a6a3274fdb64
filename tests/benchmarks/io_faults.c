/* Stands between a program and the system's file calls (LD_PRELOAD): records what is written below one folder, in
 * order, and makes a chosen call fail. Compiled and used by power_loss.py.
 *
 *   gcc -O2 -shared -fPIC -o io_faults.so io_faults.c -ldl
 *
 * The record is a file of lines and contents: "W PATHLENGTH OFFSET LENGTH\n" PATH CONTENT, and likewise C (created),
 * T (cut to OFFSET), S (flushed to the disk), R (renamed; CONTENT is the new path), U (deleted).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 4096

static char *paths[MOST];
static char root[4096];
static int record = -1;
static long calls, fail_at = -1, fail_errno;
static int fails_on;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* Begin: the folder, the file to record into (empty: none), the call that fails (-1: none), with which error, and
 * whether all later ones fail too. */
void io_faults_arm(const char *folder, const char *record_path, long at, int error, int goes_on) {
    pthread_mutex_lock(&lock);
    snprintf(root, sizeof root, "%s", folder);
    record = *record_path ? syscall(SYS_openat, AT_FDCWD, record_path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    calls = 0, fail_at = at, fail_errno = error, fails_on = goes_on;
    pthread_mutex_unlock(&lock);
}

/* The number of recorded calls so far. */
long io_faults_calls(void) { return calls; }

static int is_ours(const char *path) { return *root && path && !strncmp(path, root, strlen(root)); }

static void put(const void *data, size_t length) {
    const char *next = data;
    while (length) {
        ssize_t done = syscall(SYS_write, record, next, length);
        if (done <= 0) return;
        next += done, length -= done;
    }
}

static void note(char kind, const char *path, long offset, const void *data, size_t length) {
    if (record < 0) return;
    char head[128];
    put(head, snprintf(head, sizeof head, "%c %zu %ld %zu\n", kind, strlen(path), offset, length));
    put(path, strlen(path));
    put(data, length);
}

/* Count a call on a file, and say whether it fails. The file of acknowledgements stands for people, and never fails. */
static int fails(const char *path) {
    size_t length = strlen(path);
    if (length >= 5 && !strcmp(path + length - 5, "/acks")) return 0;
    long number = calls++;
    if (fail_at < 0 || number < fail_at || (number > fail_at && !fails_on)) return 0;
    errno = (int)fail_errno;
    return 1;
}

static const char *path_of(int fd) { return fd >= 0 && fd < MOST ? paths[fd] : NULL; }

static void absolute(int folder, const char *path, char *out, size_t size) {
    if (*path == '/' || folder != AT_FDCWD) snprintf(out, size, "%s", path);
    else {
        char here[2048];
        snprintf(out, size, "%s/%s", getcwd(here, sizeof here) ? here : "", path);
    }
}

static int do_open(int folder, const char *path, int flags, mode_t mode) {
    char full[4096];
    absolute(folder, path, full, sizeof full);
    if (!is_ours(full)) {
        int fd = syscall(SYS_openat, folder, path, flags, mode);
        if (fd >= 0 && fd < MOST && paths[fd]) free(paths[fd]), paths[fd] = NULL;
        return fd;
    }
    pthread_mutex_lock(&lock);
    struct stat before;
    int is_new = (flags & O_CREAT) && stat(full, &before) != 0;
    int fd = syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0 && fd < MOST) {
        free(paths[fd]);
        paths[fd] = strdup(full);
        struct stat now;
        if (is_new && !fstat(fd, &now) && S_ISREG(now.st_mode)) note('C', full, 0, "", 0);
        if ((flags & O_TRUNC) && !is_new) note('T', full, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, int);
    va_end(more);
    return do_open(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, int);
    va_end(more);
    return do_open(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, int);
    va_end(more);
    return do_open(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, int);
    va_end(more);
    return do_open(folder, path, flags | O_LARGEFILE, mode);
}

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (path_of(fd)) free(paths[fd]), paths[fd] = NULL;
    pthread_mutex_unlock(&lock);
    return syscall(SYS_close, fd);
}

static ssize_t do_write(int fd, const void *data, size_t length, long offset, int has_offset) {
    const char *path = path_of(fd);
    if (!path) return has_offset ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    if (fails(path)) {
        if (fail_errno == ENOSPC && length > 1) { /* what still has room is written */
            done = has_offset ? syscall(SYS_pwrite64, fd, data, length / 2, offset) : syscall(SYS_write, fd, data, length / 2);
        }
    } else {
        if (!has_offset) {
            struct stat now;
            int is_append = fcntl(fd, F_GETFL) & O_APPEND;
            offset = is_append && !fstat(fd, &now) ? (long)now.st_size : (long)lseek(fd, 0, SEEK_CUR);
        }
        done = has_offset ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
        if (done > 0) note('W', path, offset, data, (size_t)done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *data, size_t length) { return do_write(fd, data, length, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return do_write(fd, data, length, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return do_write(fd, data, length, offset, 1); }

static int do_sync(int fd, long number) {
    const char *path = path_of(fd);
    if (!path) return (int)syscall(number, fd);
    pthread_mutex_lock(&lock);
    int done = fails(path) ? -1 : (int)syscall(number, fd);
    if (!done) note('S', path, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd) { return do_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }

static int do_truncate(int fd, long length) {
    const char *path = path_of(fd);
    if (!path) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    int done = fails(path) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
    if (!done) note('T', path, length, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return do_truncate(fd, length); }
int ftruncate64(int fd, off64_t length) { return do_truncate(fd, length); }

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int done = is_ours(to) && fails(to) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (!done && is_ours(to)) note('R', from, 0, to, strlen(to));
    pthread_mutex_unlock(&lock);
    return done;
}

int renameat(int one, const char *from, int other, const char *to) { (void)one, (void)other; return rename(from, to); }

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (!done && is_ours(path)) note('U', path, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int remove(const char *path) {
    struct stat now;
    if (!lstat(path, &now) && S_ISDIR(now.st_mode)) return rmdir(path);
    return unlink(path);
}

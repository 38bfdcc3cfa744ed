/* Preloaded into the decider of a test host: while /run/disk-fails exists, calls on files of the ledger fail.
   The file says which and how: words of "write", "sync", "open" (for writing), and an errno: "write open 30". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEDGER "/var/lib/jitsudo/ledger/"

/* The errno that a call shall fail with now, 0 for none. */
static int failing(const char *call) {
    char order[64] = "";
    FILE *file = fopen("/run/disk-fails", "re");
    if (file == NULL)
        return 0;
    size_t length = fread(order, 1, sizeof order - 1, file);
    fclose(file);
    order[length] = 0;
    const char *number = strpbrk(order, "0123456789");
    return strstr(order, call) != NULL && number != NULL ? atoi(number) : 0;
}

static int is_ledger(int fd) {
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 0 && strncmp(path, LEDGER, sizeof LEDGER - 1) == 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    int error = is_ledger(fd) ? failing("write") : 0;
    if (error != 0) {
        errno = error;
        return -1;
    }
    return real(fd, bytes, size, offset);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    int error = is_ledger(fd) ? failing("sync") : 0;
    if (error != 0) {
        errno = error;
        return -1;
    }
    return real(fd);
}

int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "open64");
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    int is_ours = strncmp(path, LEDGER, sizeof LEDGER - 1) == 0 && (flags & O_ACCMODE) != O_RDONLY;
    int error = is_ours ? failing("open") : 0;
    if (error != 0) {
        errno = error;
        return -1;
    }
    return real(path, flags, mode);
}

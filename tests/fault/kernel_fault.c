/* Preloaded into the daemons of a test host: getsockopt(SO_PEERPIDFD) does not exist, as before Linux 6.5.
   That it was asked for is shown by /run/asked-for-pidfd, written by whoever may. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_PIDFD 77

int getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
    static int (*real)(int, int, int, void *, socklen_t *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "getsockopt");
    if (level == SOL_SOCKET && name == PEER_PIDFD) {
        int seen = open("/run/asked-for-pidfd", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (seen >= 0)
            close(seen);
        errno = ENOPROTOOPT;
        return -1;
    }
    return real(fd, level, name, value, size);
}

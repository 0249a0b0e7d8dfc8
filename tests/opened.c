/* Preloaded into `lethe` and all its children: writes down every path that is opened for writing,
 * made, renamed or linked, and every address that is connected to, whoever asks: Python, Arrow,
 * SQLite or any other library. One line a call, appended to $OPENED_LOG. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void note(const char *what, const char *text) {
    int kept = errno;
    const char *log = getenv("OPENED_LOG");
    if (log && text) {
        char line[2 * PATH_MAX + 32];
        int size = snprintf(line, sizeof line, "%s %s\n", what, text);
        /* System calls of our own, so that nothing here is written down in turn. */
        int to = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (to >= 0) {
            if (syscall(SYS_write, to, line, (size_t)size) != size) abort();
            syscall(SYS_close, to);
        }
    }
    errno = kept;
}

static void note_path(const char *what, int folder, const char *path) {
    char start[PATH_MAX] = "", whole[2 * PATH_MAX];
    if (!path) return;
    if (path[0] == '/') {
        note(what, path);
        return;
    }
    if (folder == AT_FDCWD) {
        if (!getcwd(start, sizeof start)) return;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t size = readlink(link, start, sizeof start - 1);
        if (size < 0) return;
        start[size] = 0;
    }
    snprintf(whole, sizeof whole, "%s/%s", start, path);
    note(what, whole);
}

static int writes(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC | O_APPEND);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        mode_t mode = va_arg(rest, int);                                  \
        va_end(rest);                                                     \
        if (writes(flags)) note_path("write", AT_FDCWD, path);            \
        return REAL(name)(path, flags, mode);                             \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                      \
    int name(int folder, const char *path, int flags, ...) {              \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        mode_t mode = va_arg(rest, int);                                  \
        va_end(rest);                                                     \
        if (writes(flags)) note_path("write", folder, path);              \
        return REAL(name)(folder, path, flags, mode);                     \
    }
OPENAT(openat)
OPENAT(openat64)

/* What a library calls that was compiled with _FORTIFY_SOURCE. */
#define FORTIFIED(name, plain)                                            \
    int name(const char *path, int flags) {                               \
        return plain(path, flags, 0);                                     \
    }
FORTIFIED(__open_2, open)
FORTIFIED(__open64_2, open64)

#define CREAT(name)                                                       \
    int name(const char *path, mode_t mode) {                             \
        note_path("write", AT_FDCWD, path);                               \
        return REAL(name)(path, mode);                                    \
    }
CREAT(creat)
CREAT(creat64)
CREAT(mkdir)
CREAT(mkfifo)

int mkdirat(int folder, const char *path, mode_t mode) {
    note_path("write", folder, path);
    return REAL(mkdirat)(folder, path, mode);
}

#define FOPEN(name)                                                       \
    FILE *name(const char *path, const char *mode) {                      \
        if (strpbrk(mode, "wa+")) note_path("write", AT_FDCWD, path);     \
        return REAL(name)(path, mode);                                    \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define PAIR(name)                                                        \
    int name(const char *from, const char *to) {                          \
        note_path("write", AT_FDCWD, to);                                 \
        return REAL(name)(from, to);                                      \
    }
PAIR(rename)
PAIR(link)
PAIR(symlink)

int renameat(int from_folder, const char *from, int folder, const char *to) {
    note_path("write", folder, to);
    return REAL(renameat)(from_folder, from, folder, to);
}

int renameat2(int from_folder, const char *from, int folder, const char *to, unsigned flags) {
    note_path("write", folder, to);
    return REAL(renameat2)(from_folder, from, folder, to, flags);
}

int linkat(int from_folder, const char *from, int folder, const char *to, int flags) {
    note_path("write", folder, to);
    return REAL(linkat)(from_folder, from, folder, to, flags);
}

int symlinkat(const char *from, int folder, const char *to) {
    note_path("write", folder, to);
    return REAL(symlinkat)(from, folder, to);
}

/* The C library makes these names itself, so they are known only afterwards. */
#define MAKE(name)                                                        \
    int name(char *pattern) {                                             \
        int made = REAL(name)(pattern);                                   \
        if (made >= 0) note_path("write", AT_FDCWD, pattern);             \
        return made;                                                      \
    }
MAKE(mkstemp)
MAKE(mkstemp64)

#define MAKE_WITH_FLAGS(name)                                             \
    int name(char *pattern, int flags) {                                  \
        int made = REAL(name)(pattern, flags);                            \
        if (made >= 0) note_path("write", AT_FDCWD, pattern);             \
        return made;                                                      \
    }
MAKE_WITH_FLAGS(mkostemp)
MAKE_WITH_FLAGS(mkostemp64)

char *mkdtemp(char *pattern) {
    char *made = REAL(mkdtemp)(pattern);
    if (made) note_path("write", AT_FDCWD, made);
    return made;
}

FILE *tmpfile(void) {
    note("write", "/tmp/(tmpfile)");
    return REAL(tmpfile)();
}

int connect(int descriptor, const struct sockaddr *address, socklen_t size) {
    char text[INET6_ADDRSTRLEN] = "";
    if (address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text);
        note("connect", text);
    } else if (address->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
        note("connect", text);
    }
    return REAL(connect)(descriptor, address, size);
}

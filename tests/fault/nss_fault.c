/* An NSS module that hangs in every lookup while /run/nss-hangs exists, and knows nobody otherwise. */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <unistd.h>

static enum nss_status fault(int *error) {
    while (access("/run/nss-hangs", F_OK) == 0)
        sleep(1);
    *error = ENOENT;
    return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_fault_getpwnam_r(const char *name, struct passwd *entry, char *room, size_t size, int *error) {
    (void)name, (void)entry, (void)room, (void)size;
    return fault(error);
}
enum nss_status _nss_fault_getpwuid_r(uid_t uid, struct passwd *entry, char *room, size_t size, int *error) {
    (void)uid, (void)entry, (void)room, (void)size;
    return fault(error);
}
enum nss_status _nss_fault_getgrnam_r(const char *name, struct group *entry, char *room, size_t size, int *error) {
    (void)name, (void)entry, (void)room, (void)size;
    return fault(error);
}
enum nss_status _nss_fault_getgrgid_r(gid_t gid, struct group *entry, char *room, size_t size, int *error) {
    (void)gid, (void)entry, (void)room, (void)size;
    return fault(error);
}
enum nss_status _nss_fault_initgroups_dyn(const char *user, gid_t gid, long *start, long *size, gid_t **groups, long limit, int *error) {
    (void)user, (void)gid, (void)start, (void)size, (void)groups, (void)limit;
    return fault(error);
}

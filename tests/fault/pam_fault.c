/* A PAM module that does what it is told by its first word: crash, exit, fork, close, hang, rename, uid; two asks for two things. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct message {
    int style;
    const char *text;
};
struct response {
    char *text;
    int code;
};
struct conversation {
    int (*converse)(int, const struct message **, struct response **, void *);
    void *data;
};
enum { SUCCESS = 0, AUTH_ERR = 7, IGNORE = 25, USER = 2, CONV = 5, ECHO_OFF = 1, ECHO_ON = 2 };
int pam_get_item(const void *handle, int item, const void **value);
int pam_set_item(void *handle, int item, const void *value);

static int ask_two(void *handle) {
    const void *item = NULL;
    if (pam_get_item(handle, CONV, &item) != SUCCESS || item == NULL)
        return AUTH_ERR;
    const struct conversation *conversation = item;
    struct message first = {ECHO_OFF, "Password: "}, second = {ECHO_ON, "Verification code: "};
    const struct message *messages[2] = {&first, &second};
    struct response *answers = NULL;
    if (conversation->converse(2, messages, &answers, conversation->data) != SUCCESS || answers == NULL)
        return AUTH_ERR;
    int right = strcmp(answers[0].text, "secret") == 0 && strcmp(answers[1].text, "424242") == 0;
    for (int place = 0; place < 2; place++)
        free(answers[place].text);
    free(answers);
    return right ? SUCCESS : AUTH_ERR;
}

static int fault(void *handle, int count, const char **words) {
    const char *what = count > 0 ? words[0] : "";
    if (strcmp(what, "crash") == 0)
        raise(SIGSEGV);
    if (strcmp(what, "exit") == 0)
        _exit(0);
    if (strcmp(what, "fork") == 0)
        (void)!fork();
    if (strcmp(what, "stay") == 0 && fork() == 0)
        for (;;)
            pause();
    if (strcmp(what, "stay") == 0)
        raise(SIGSEGV);
    if (strcmp(what, "close") == 0)
        for (int number = 0; number < 100; number++)
            close(number);
    if (strcmp(what, "uid") == 0)
        (void)!seteuid(65534);
    if (strcmp(what, "rename") == 0)
        pam_set_item(handle, USER, "bob");
    if (strcmp(what, "two") == 0)
        return ask_two(handle);
    while (strcmp(what, "hang") == 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        sleep(1);
    }
    return SUCCESS;
}

int pam_sm_authenticate(void *handle, int flags, int count, const char **words) {
    (void)flags;
    return fault(handle, count, words);
}
int pam_sm_setcred(void *handle, int flags, int count, const char **words) {
    (void)handle, (void)flags, (void)count, (void)words;
    return IGNORE;
}
int pam_sm_acct_mgmt(void *handle, int flags, int count, const char **words) {
    (void)flags;
    return fault(handle, count, words);
}
int pam_sm_open_session(void *handle, int flags, int count, const char **words) {
    (void)flags;
    return fault(handle, count, words);
}
int pam_sm_close_session(void *handle, int flags, int count, const char **words) {
    (void)handle, (void)flags, (void)count, (void)words;
    return SUCCESS;
}

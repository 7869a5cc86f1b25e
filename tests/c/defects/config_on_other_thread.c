/* The configuration in force is written by another thread than the caller's. */
#define WRITE_CONFIG write_on_thread(out, text)
#define OWN_CODE                                               \
  struct Written {                                             \
    AlexSink out;                                              \
    AlexStr text;                                              \
  };                                                           \
  static void *write_it(void *argument) {                      \
    struct Written *written = argument;                        \
    written->out.write(written->out.ctx, written->text);       \
    return NULL;                                               \
  }                                                            \
  static void write_on_thread(AlexSink out, AlexStr text) {    \
    struct Written written = {out, text};                      \
    pthread_t thread;                                          \
    if (pthread_create(&thread, NULL, write_it, &written)) return; \
    pthread_join(thread, NULL);                                \
  }
#include "extended.h"

/* Makes system calls, right and wrong ones, and ends in the way its argument says. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static __thread int own = 42; /* in thread-local storage, which FS points to */
extern char** environ;

#define CHECK(what)                                            \
  if (!(what)) {                                               \
    printf("line %d: %s, errno %d\n", __LINE__, #what, errno); \
    return 1;                                                  \
  }
#define FAILS(call, error) CHECK((errno = 0, (long)(call) == -1 && errno == (error)))

static int memory(void) {
  char* area = mmap(NULL, 8 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(area != MAP_FAILED);
  for (int page = 0; page < 8; page++) area[page << 12] = (char)(page + 1);
  CHECK(mprotect(area, 1 << 12, PROT_READ) == 0 && area[0] == 1);
  CHECK(munmap(area + (4 << 12), 1 << 12) == 0);
  FAILS(mprotect(area + (4 << 12), 1 << 12, PROT_READ), ENOMEM);
  FAILS(mprotect(area + 1, 1 << 12, PROT_READ), EINVAL);
  char* again = mmap(area + (4 << 12), 1 << 12, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(again == area + (4 << 12) && again[0] == 0 && area[5 << 12] == 6);
  FAILS(mmap(area, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
  FAILS(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
  FAILS(mmap(NULL, -1ul >> 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
  FAILS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 7, 0), EBADF);
  CHECK(madvise(area + (5 << 12), 1 << 12, MADV_DONTNEED) == 0 && area[5 << 12] == 0);
  CHECK(mremap(area, 8 << 12, 2 << 12, 0) == area && area[1 << 12] == 2);
  char* block = mmap(NULL, 2 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(block + 4090, "in two pages");
  block = mremap(block, 2 << 12, 700 << 12, MREMAP_MAYMOVE);
  CHECK(block != MAP_FAILED && strcmp(block + 4090, "in two pages") == 0 && block[699 << 12] == 0);
  char* heap = sbrk(1 << 20);
  CHECK(heap != (void*)-1 && (heap[(1 << 20) - 1] = 7) == 7 && sbrk(-(1 << 20)) == heap + (1 << 20));
  char* big = malloc(3 << 20);
  memset(big, 'x', 3 << 20);
  big = realloc(big, 6 << 20);
  CHECK(big[0] == 'x' && big[(3 << 20) - 1] == 'x');
  free(big);
  return 0;
}

static int files(void) {
  char word[100] = {0};
  CHECK(read(0, word, 5) == 5 && strcmp(word, "hello") == 0);
  CHECK(read(0, word, sizeof word) == 7 && read(0, word, 1) == 0);
  struct iovec parts[] = {{"one ", 4}, {NULL, 0}, {"two\n", 4}};
  CHECK(writev(1, parts, 3) == 8);
  FAILS(write(9, "x", 1), EBADF);
  FAILS(syscall(SYS_write, 1, 8, 1), EFAULT);
  FAILS(open("/etc/passwd", O_RDONLY), ENOENT);
  FAILS(lseek(1, 0, SEEK_SET), ESPIPE);
  struct stat status;
  CHECK(fstat(1, &status) == 0 && S_ISFIFO(status.st_mode) && status.st_blksize == 4096 && !isatty(1));
  char* last = mmap(NULL, 2 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(last + 4096, 4096);
  CHECK(strcpy(last + 4091, "cut\n") && write(1, last + 4091, 4) == 4);
  return 0;
}

static int self(int argc, char** argv) {
  struct utsname name;
  CHECK(uname(&name) == 0 && strcmp(name.sysname, "Linux") == 0 && strcmp(name.machine, "x86_64") == 0);
  char path[200] = {0};
  CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0 && path[0] == '/');
  FAILS(readlink("/proc/self", path, 10), ENOENT);
  struct timespec before, after, nap = {0, 2000000};
  CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0 && nanosleep(&nap, NULL) == 0);
  clock_gettime(CLOCK_MONOTONIC, &after);
  long waited = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
  CHECK(waited >= 2000000 && waited < 4000000);
  uint64_t random[2] = {0};
  CHECK(getrandom(random, sizeof random, 0) == sizeof random);
  CHECK(own == 42 && getpid() == syscall(SYS_gettid) && sysconf(_SC_PAGESIZE) == 4096);
  uint64_t first = __builtin_ia32_rdtsc(), second = __builtin_ia32_rdtsc();
  CHECK(second > first);
  printf("%d arguments, %s, %s, random %016lx, time %lu\n", argc, argv[argc - 1], environ[0], random[0] ^ random[1],
         first);
  return 0;
}

static int recurse(volatile char* above) { /* until the stack ends */
  if (above == NULL) return 0;
  volatile char here[1000];
  here[0] = above[0];
  return recurse(here) + here[0];
}

int main(int argc, char** argv) {
  const char* end = argc > 1 ? argv[1] : "";
  volatile int zero = 0, seven = 7;
  if (strcmp(end, "calls") == 0) return memory() || files() || self(argc, argv);
  if (strcmp(end, "load") == 0) return *(volatile char*)0x123456;
  if (strcmp(end, "store") == 0) *(volatile char*)"constant" = 1;
  if (strcmp(end, "jump") == 0) ((void (*)(void))0x7777000)();
  if (strcmp(end, "high") == 0) return *(volatile char*)0x8000000000000010;
  if (strcmp(end, "execute") == 0) ((void (*)(void))&zero)();
  if (strcmp(end, "divide") == 0) return seven / zero;
  if (strcmp(end, "ud2") == 0) __builtin_trap();
  if (strcmp(end, "hlt") == 0) __asm__ volatile("hlt");
  if (strcmp(end, "int3") == 0) __asm__ volatile("int3");
  if (strcmp(end, "abort") == 0) abort();
  if (strcmp(end, "stack") == 0) return recurse((volatile char*)end);
  if (strcmp(end, "unknown") == 0)
    return syscall(777) == -1 && errno == ENOSYS && syscall(777) == -1 && syscall(57) == -1 ? 3 : 4;
  if (strcmp(end, "wait") == 0) return (int)syscall(SYS_futex, &zero, 0, 0, NULL, NULL, 0);
  if (strcmp(end, "eat") == 0)
    for (char* at = sbrk(64 << 20);; at += 4096) *at = 1;
  return 9;
}

/* What every call of the C interface answers, and the rules that hold for all of them.
 *
 * Calls return a vmem_status: 0 is done, positive is a result that is no error (a translation that does not exist),
 * negative is a refusal, of which vmem_last_error() tells the rest. A refused call has changed nothing unless its
 * description says otherwise. Nothing is thrown and nothing aborts across this interface.
 *
 * Structures begin with `size`, which the caller sets to sizeof the structure (VMEM_INIT does, and clears the rest).
 * A library that knows more members takes missing ones as zero, which always means "as usual"; one that knows fewer
 * refuses members that it does not know unless they are zero. Enumerations only ever grow at their end.
 *
 * Strings are UTF-8, end with a zero byte and are copied if they are kept. Strings that are returned by the name of a
 * thing live for ever.
 *
 * Threads: every object belongs to one thread at a time; different objects may be used by different threads at once.
 */
#ifndef VMEM_STATUS_H
#define VMEM_STATUS_H

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define VMEM_API __attribute__((visibility("default")))
#else
#define VMEM_API
#endif

/* Clears a structure of this interface and says which version of it the caller was compiled with. */
#define VMEM_INIT(structure) (memset(&(structure), 0, sizeof(structure)), (structure).size = sizeof(structure))

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when a program that was compiled against an older interface would no longer run. */
enum { VMEM_ABI_VERSION = 0 };

typedef int32_t vmem_status;

enum {
  VMEM_OK = 0,
  VMEM_FAULT = 1,        /* the access has no translation; the result says why */
  VMEM_SEGFAULT = 2,     /* the guest's kernel answered with SIGSEGV */
  VMEM_STOPPED = 3,      /* the process was killed by its guest's kernel, or its VM by the host */
  VMEM_E_ARGUMENT = -1,  /* a value that is not accepted */
  VMEM_E_HANDLE = -2,    /* no such object, or one that is gone: NULL, a destroyed one, one of another kind */
  VMEM_E_STRUCTURE = -3, /* `size` is not that of a structure this library knows */
  VMEM_E_MEMORY = -4,    /* the simulated machine, or the real one, has no memory for it */
  VMEM_E_CALLBACK = -5,  /* a function of the caller's failed, threw, or answered what it may not */
  VMEM_E_BUSY = -6,      /* the object is in the middle of another call */
  VMEM_E_INVARIANT = -7, /* vmem's own state is wrong: a bug of vmem. Do not go on with the object */
  VMEM_E_INTERNAL = -8,  /* something that should not happen: a bug of vmem */
  VMEM_E_IO = -9         /* the guest's disk failed, or its kernel had no page for the transfer */
};

/* "VMEM_OK" and so on; "unknown" for other numbers. */
VMEM_API const char* vmem_status_name(vmem_status status);

/* What was wrong with the latest call of this thread that was refused, in a sentence: the value, and what is accepted.
 * Valid until this thread's next refused call; empty if there was none. */
VMEM_API const char* vmem_last_error(void);

/* Of the library that is loaded, which may be newer than the header: VMEM_ABI_VERSION and VMEM_VERSION. */
VMEM_API uint32_t vmem_abi_version(void);
VMEM_API const char* vmem_version(void);

/* The names that the counter functions of an MMU, a VM and a vCPU accept, by number from 0; NULL after the last. */
VMEM_API const char* vmem_counter_name(uint32_t number);

/* The built-in processors, by number from 0; NULL after the last. */
VMEM_API const char* vmem_cpu_name(uint32_t number);

#ifdef __cplusplus
}
#endif

#endif

/* The one place that holds vmem's version: read by CMake, by the Python build and by C and C++ programs. */
#ifndef VMEM_VERSION_H
#define VMEM_VERSION_H

#define VMEM_VERSION "0.1.0"

#endif

// What the machine can do, for benchmarks to compare kernels with.
#pragma once
#include <cstdint>
#include <string>

namespace fw {

// float32 operations per second of multiply-adds that never leave the registers, on the threads of the pool and in
// the vectors of an instruction set: the best of a few short trials.
double peak_flops(const std::string& instruction_set);

// Bytes per second, read and written, of a copy from one half of `bytes` of memory into the other, likewise.
double copy_bandwidth(int64_t bytes);

// Bytes per second of reading `bytes` of memory once, each thread its own part from end to end, likewise.
double read_bandwidth(int64_t bytes);

}  // namespace fw

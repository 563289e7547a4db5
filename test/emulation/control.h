// How tests steer the emulated device and learn what it has seen. To be called when the device is idle
// (cudaDeviceSynchronize), except for launches().
#pragma once
#include <stdint.h>

#include <string>

namespace emulation {

// Launches since the process began.
int64_t launches();

// What the device has died of, with file and line, or "".
std::string cause_of_death();
// Makes a device that has died usable again.
void revive();

// 0: warps run in order, each as far as it gets. Others: a random warp runs ahead in bursts.
void set_seed(uint64_t seed);

}  // namespace emulation

// How many cores this process may use, and which of them its threads run on.
#pragma once
#include <string>
#include <thread>

namespace fw {

// Those of its affinity mask, or fewer where its control groups grant it less time; at least 1.
int available_cores();

// Cores' worth of time that the control groups grant, rounded up; 0 when they set no limit. `root` stands before /proc
// and /sys.
int cgroup_cores(const std::string& root);

// The one that the calling thread runs on at present; -1 where the system does not tell.
int current_core();

// Lets a thread run wherever the calling one may, but not on this core, or with -1 on any; nothing changes where no core would
// be left.
void keep_off(std::thread& thread, int core);

}  // namespace fw

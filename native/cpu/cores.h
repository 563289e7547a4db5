// How many cores this process may use.
#pragma once
#include <string>

namespace fw {

// Those of its affinity mask, or fewer where its control groups grant it less time; at least 1.
int available_cores();

// Cores' worth of time that the control groups grant, rounded up; 0 when they set no limit. `root` stands before /proc
// and /sys.
int cgroup_cores(const std::string& root);

}  // namespace fw

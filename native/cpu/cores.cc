// The affinity mask and the quotas of control groups, version 1 and 2.
#include "cores.h"

#include <algorithm>
#include <fstream>
#include <thread>
#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace fw {
namespace {

// Cores for a quota of `quota` every `period` microseconds; 0 when one of them is missing or means no limit.
int cores_of(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::min((quota + period - 1) / period, 1LL << 20));
}

// The limit of the group in `folder`: cpu.max holds "max 100000" or "150000 100000" in version 2.
int group_limit(const std::string& folder) {
  long long quota = 0, period = 0;
  if (std::ifstream both(folder + "/cpu.max"); both && !(both >> quota >> period)) return 0;
  if (period == 0) {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return cores_of(quota, period);
}

// The least limit of a group and all groups around it, up to the mount. Inside a container the path may be the host's,
// of which only the mount itself exists.
int path_limit(const std::string& mount, std::string path) {
  int least = 0;
  for (;;) {
    const int limit = group_limit(mount + path);
    if (limit > 0 && (least == 0 || limit < least)) least = limit;
    if (path.empty()) return least;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

bool names_cpu(const std::string& controllers) { return ("," + controllers + ",").find(",cpu,") != std::string::npos; }

}  // namespace

int cgroup_cores(const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  std::ifstream groups(root + "/proc/self/cgroup");
  int least = 0;
  // Lines such as 0::/user.slice in version 2 and 4:cpu,cpuacct:/docker/1 in version 1.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (!controllers.empty() && !names_cpu(controllers)) continue;
    const std::string mount = controllers.empty() ? mounts : mounts + "/cpu";
    const int limit = path_limit(mount, path == "/" ? "" : path);
    if (limit > 0 && (least == 0 || limit < least)) least = limit;
  }
  return least;
}

int available_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) cores = CPU_COUNT(&mask);
  const int granted = cgroup_cores("");
  if (granted > 0) cores = std::min(cores, granted);
#endif
  return std::max(cores, 1);
}

int current_core() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

void keep_off([[maybe_unused]] std::thread& thread, [[maybe_unused]] int core) {
#ifdef __linux__
  cpu_set_t mask;
  if (core >= CPU_SETSIZE || sched_getaffinity(0, sizeof mask, &mask) != 0) return;
  if (core >= 0) CPU_CLR(core, &mask);
  if (CPU_COUNT(&mask) > 0) pthread_setaffinity_np(thread.native_handle(), sizeof mask, &mask);
#endif
}

}  // namespace fw

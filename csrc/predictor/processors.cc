#include "predictor/processors.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

namespace gluon_resnet {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

// The limit of one control group, from the files of version 2 or 1.
double group_quota(const std::string& folder) {
  double quota = 0, period = 0;
  std::ifstream(folder + "/cpu.max") >> quota >> period;  // "max 100000" is not a number
  if (period == 0) {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : kUnlimited;
}

// The control groups of this process, and all above them.
double quota() {
  double least = kUnlimited;
  std::ifstream listing("/proc/self/cgroup");
  for (std::string line; std::getline(listing, line);) {  // "0::/group" or "4:cpu,cpuacct:/group"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers != ",," && controllers.find(",cpu,") == std::string::npos) continue;
    const std::string root = controllers == ",," ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    std::string group = line.substr(second + 1);
    for (;;) {
      least = std::min(least, group_quota(root + group));
      const size_t slash = group.find_last_not_of('/') == std::string::npos
                               ? std::string::npos
                               : group.find_last_of('/');
      if (slash == std::string::npos) break;
      group.erase(slash);
    }
  }
  return least;
}

}  // namespace

int usable_processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  int count = ::sched_getaffinity(0, sizeof(allowed), &allowed) == 0
                  ? CPU_COUNT(&allowed)
                  : static_cast<int>(std::thread::hardware_concurrency());
  if (const double most = quota(); most < count) count = static_cast<int>(std::ceil(most));
  return std::max(count, 1);
}

}  // namespace gluon_resnet

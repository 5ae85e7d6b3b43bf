// Exercises the C++ core with threads, cancels and damage, and ends with an error where something
// is not as it has to be. Meant to run under sanitizers:
//
//   stress [--seconds N] [--seed S]

#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "scenario.h"

namespace gluon_resnet {
namespace {

constexpr int kAtOnce = 3;  // scenarios, on the same files; each has threads of its own

size_t count_entries(const char* folder) {
  const std::filesystem::directory_iterator entries(folder);
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

void run(const std::vector<StressFile>& files, const std::string& folder, Scenario* scenario) {
  const int64_t kind = scenario->draw(0, 11);
  if (kind < 6) {
    stress_loader(files, scenario);
  } else if (kind < 7) {
    stress_shrinking_file(files[static_cast<size_t>(scenario->draw(0, 3))], folder, scenario);
  } else if (kind < 8) {
    stress_checker(files, scenario);
  } else if (kind < 10) {
    stress_packer(folder, scenario);
  } else if (kind < 11) {
    stress_epoch_rivals(files.front(), scenario);
  } else {
    stress_packer_rivals(folder, scenario);
  }
}

void stress(int seconds, uint64_t seed) {
  std::string folder = std::filesystem::temp_directory_path() / "stress-XXXXXX";
  require(::mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
  // The first scenarios of a process start what stays, as the pool of OpenCV.
  const size_t descriptors = count_entries("/proc/self/fd");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::atomic<uint64_t> next{1};
  {
    const std::vector<StressFile> files = make_stress_files(folder, seed);
    std::vector<std::thread> threads;
    for (int i = 0; i < kAtOnce; ++i) {
      threads.emplace_back([&] {
        while (std::chrono::steady_clock::now() < end) {
          Scenario scenario(seed, next++);
          try {
            run(files, folder, &scenario);
          } catch (const std::exception& error) {
            scenario.require(false, concat("no exception leaves a scenario: ", error.what()));
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  require(count_entries("/proc/self/fd") == descriptors, "no descriptor is left open");
  std::filesystem::remove_all(folder);
  std::printf("%llu scenarios, none violated\n", static_cast<unsigned long long>(next - 1));
}

}  // namespace
}  // namespace gluon_resnet

int main(int argc, char** argv) {
  int seconds = 10;
  uint64_t seed = std::random_device()();
  for (int i = 1; i < argc; i += 2) {
    const bool valued = i + 1 < argc;
    if (valued && std::strcmp(argv[i], "--seconds") == 0) {
      seconds = std::atoi(argv[i + 1]);
    } else if (valued && std::strcmp(argv[i], "--seed") == 0) {
      seed = std::strtoull(argv[i + 1], nullptr, 10);
    } else {
      std::fprintf(stderr, "usage: stress [--seconds N] [--seed S]\n");
      return 2;
    }
  }
  std::printf("stress: seed %llu, %d s\n", static_cast<unsigned long long>(seed), seconds);
  std::fflush(stdout);
  gluon_resnet::stress(seconds, seed);
  return 0;
}

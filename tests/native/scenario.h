// One round of the stress program: its random choices, and what has to hold in it.
#ifndef GLUON_RESNET_TESTS_SCENARIO_H_
#define GLUON_RESNET_TESTS_SCENARIO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "require.h"
#include "stress_files.h"

namespace gluon_resnet {

class Scenario {
 public:
  Scenario(uint64_t seed, uint64_t number) : number(number), random_(seed, number, 0) {}

  int64_t draw(int64_t low, int64_t high) { return random_.integer(low, high); }  // both included
  bool chance(int percent) { return draw(1, 100) <= percent; }
  Random* random() { return &random_; }

  // Prints the scenario with what is violated.
  void require(bool holds, const std::string& what) const {
    if (!holds)
      gluon_resnet::require(false, concat("scenario ", number, ": ", choices, ": ", what));
  }

  const uint64_t number;
  std::string choices;  // in words

 private:
  Random random_;
};

// Each may run in several threads at once, on the same files.
void stress_loader(const std::vector<StressFile>& files, Scenario* scenario);
void stress_shrinking_file(const StressFile& file, const std::string& folder, Scenario* scenario);
void stress_checker(const std::vector<StressFile>& files, Scenario* scenario);
void stress_packer(const std::string& folder, Scenario* scenario);
void stress_epoch_rivals(const StressFile& whole_file, Scenario* scenario);
void stress_packer_rivals(const std::string& folder, Scenario* scenario);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_TESTS_SCENARIO_H_

// Looks into the order of epochs that are too long to list: prints a line of figures for each size,
// which test_loader_order.py judges, and leaves with status 1 where an order is none.
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "loader/order.h"

using gluon_resnet::BatchOrder;
using gluon_resnet::LastBatch;
using gluon_resnet::Permutation;

namespace {

constexpr uint64_t kSample = 100000;
constexpr uint64_t kBuckets = 64;

// Every number below `size` exactly once.
bool is_permutation(uint64_t size, uint64_t epoch) {
  const Permutation shuffled(size, 7, epoch);
  std::vector<bool> seen(size, false);
  for (uint64_t i = 0; i < size; ++i) {
    const uint64_t at = shuffled(i);
    if (at >= size || seen[at]) return false;
    seen[at] = true;
  }
  return true;
}

double chi_squared(const std::vector<uint64_t>& values, uint64_t (*bucket)(uint64_t, uint64_t),
                   uint64_t size) {
  std::vector<double> counts(kBuckets, 0);
  for (const uint64_t value : values) ++counts[bucket(value, size)];
  const double expected = static_cast<double>(values.size()) / kBuckets;
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

// Whether eight ranks have the rows of one process, in batches of an eighth.
bool ranks_agree(uint64_t size) {
  const BatchOrder one({size, 256, 0, 1}, LastBatch::kKeep, true, 7, 3);
  const uint64_t last = one.num_batches() - 1;
  for (const uint64_t batch : {uint64_t{0}, last / 2, last - 1, last}) {
    std::vector<uint64_t> whole;
    std::vector<uint64_t> joined;
    for (uint64_t row = 0; row < one.rows(batch); ++row) whole.push_back(one.record(batch, row));
    for (uint64_t rank = 0; rank < 8; ++rank) {
      const BatchOrder part({size, 32, rank, 8}, LastBatch::kKeep, true, 7, 3);
      if (part.num_batches() != one.num_batches()) return false;
      for (uint64_t row = 0; row < part.rows(batch); ++row) {
        joined.push_back(part.record(batch, row));
      }
    }
    if (joined != whole) return false;
  }
  return true;
}

bool look(uint64_t size) {
  const Permutation shuffled(size, 7, 0);
  const Permutation next_epoch(size, 7, 1);
  std::vector<uint64_t> first;
  uint64_t near = 0;
  uint64_t same = 0;
  for (uint64_t i = 0; i < kSample; ++i) {
    first.push_back(shuffled(i));
    if (i > 0) {
      const uint64_t a = first[i - 1];
      const uint64_t b = first[i];
      near += (a > b ? a - b : b - a) < size / 100 ? 1 : 0;
    }
    same += first[i] == next_epoch(i) ? 1 : 0;
  }
  const double high = chi_squared(
      first,
      [](uint64_t value, uint64_t below) {
        return static_cast<uint64_t>(static_cast<unsigned __int128>(value) * kBuckets / below);
      },
      size);
  const double low =
      chi_squared(first, [](uint64_t value, uint64_t) { return value % kBuckets; }, size);

  std::vector<uint64_t> all = first;
  const uint64_t stride = (size - 2 * kSample) / kSample;
  for (uint64_t i = 0; i < kSample; ++i) {
    all.push_back(shuffled(kSample + i * stride));
    all.push_back(shuffled(size - 1 - i));
  }
  std::sort(all.begin(), all.end());
  const bool distinct = std::adjacent_find(all.begin(), all.end()) == all.end();
  std::printf("%llu %.1f %.1f %llu %llu\n", static_cast<unsigned long long>(size), high, low,
              static_cast<unsigned long long>(near), static_cast<unsigned long long>(same));
  return distinct && all.back() < size && ranks_agree(size);
}

}  // namespace

int main() {
  const rlimit memory = {64 << 20, 64 << 20};  // more is not to be had
  if (setrlimit(RLIMIT_AS, &memory) != 0) return 1;
  for (uint64_t size = 1; size <= 1030; ++size) {
    if (!is_permutation(size, size)) return 1;
  }
  for (const uint64_t size : {65535u, 65536u, 65537u, 1000003u}) {
    if (!is_permutation(size, 1)) return 1;
  }
  const uint64_t one = 1;
  for (const uint64_t size : {uint64_t{1000000000}, (one << 30) - 1, (one << 30) + 1,
                              (one << 32) + 1, 3 * (one << 36) + 5, (one << 40) - 1, one << 40}) {
    if (!look(size)) return 1;
  }
  return 0;
}

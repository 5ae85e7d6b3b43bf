// Random numbers without shared state: a counter-based generator keyed by (seed, epoch, record),
// so that the pixels of a record do not depend on threads, batches or ranks; and a shuffle that
// needs no list.
#ifndef GLUON_RESNET_RANDOM_H_
#define GLUON_RESNET_RANDOM_H_

#include <cmath>
#include <cstdint>

namespace gluon_resnet {

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose every output bit depends
// on every input bit.
inline uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

// The numbers drawn for one record in one epoch; not shared between threads.
class Random {
 public:
  Random(uint64_t seed, uint64_t epoch, uint64_t record)
      : state_(mix(mix(mix(seed + kGolden) ^ (epoch + kGolden)) ^ (record + kGolden))) {}

  uint64_t bits() { return mix(state_ += kGolden); }

  // In [0, 1), with 53 random bits.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

  double uniform(double low, double high) { return low + (high - low) * uniform(); }

  // In [low, high], both included. The bias of the multiplication is below 2^-32.
  int64_t integer(int64_t low, int64_t high) {
    const auto range = static_cast<unsigned __int128>(high - low + 1);
    return low + static_cast<int64_t>((range * bits()) >> 64);
  }

  // Standard normal (Box and Muller 1958).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * 3.14159265358979323846 * uniform());
  }

 private:
  uint64_t state_;
};

// A pseudo-random permutation of [0, size) in constant memory: a Feistel network over the next even
// power of two, walked until it lands inside (Black and Rogaway 2002).
class Permutation {
 public:
  Permutation(uint64_t size, uint64_t seed, uint64_t epoch) : size_(size) {
    while (half_bits_ < 32 && (1ULL << (2 * half_bits_)) < size) ++half_bits_;
    for (uint64_t round = 0; round < kRounds; ++round) {
      keys_[round] = Random(seed ^ 0x5348554646ULL, epoch, round).bits();
    }
  }

  // Where position `index` of the shuffled order comes from; index < size.
  uint64_t operator()(uint64_t index) const {
    do index = encrypt(index);
    while (index >= size_);
    return index;
  }

 private:
  static constexpr uint64_t kRounds = 6;

  uint64_t encrypt(uint64_t value) const {
    const uint64_t mask = (1ULL << half_bits_) - 1;
    uint64_t left = value >> half_bits_;
    uint64_t right = value & mask;
    for (const uint64_t key : keys_) {
      const uint64_t next = left ^ (mix(right + key) & mask);
      left = right;
      right = next;
    }
    return (left << half_bits_) | right;
  }

  uint64_t size_;
  unsigned half_bits_ = 1;
  uint64_t keys_[kRounds] = {};
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RANDOM_H_

// The costs of an epoch, and who waited for whom.
#ifndef GLUON_RESNET_EPOCH_METER_H_
#define GLUON_RESNET_EPOCH_METER_H_

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace gluon_resnet {

using Clock = std::chrono::steady_clock;

// A record that was left out, or whose image is incomplete.
struct BadRecord {
  uint64_t epoch;
  std::string path;
  int64_t key;
  uint64_t offset;
  std::string reason;
};

// Working times are sums over the workers.
struct WorkTimes {
  Clock::duration reading{};
  Clock::duration decoding{};
  Clock::duration augmenting{};  // and everything else that a row needs
  Clock::duration stalled{};     // the part of reading beyond a read from memory
};

// Times are in seconds.
struct EpochStats {
  uint64_t images = 0;  // handed out, without padding
  uint64_t batches = 0;
  size_t threads = 0;
  double seconds = 0;  // from the start to the end, as seen by the consumer, or to now
  double reading = 0;
  double decoding = 0;
  double augmenting = 0;
  double waiting = 0;           // by workers, until the consumer takes a batch
  double consumer_waiting = 0;  // by the consumer, for a batch
  std::vector<BadRecord> skipped;
  std::vector<BadRecord> partial;
};

// All members may be called by any thread.
class EpochMeter {
 public:
  explicit EpochMeter(size_t threads);

  void worked(const WorkTimes& times);
  void waited(Clock::time_point begin, Clock::time_point end);
  void consumer_waited(Clock::duration time) { add(&consumer_waiting_, time); }
  void handed_out(uint64_t images);
  void skipped(BadRecord record);
  void partial(BadRecord record);
  // All rows are done: from now on, every worker waits for the consumer.
  void work_ended() { mark(&work_ended_); }
  void ended() { mark(&ended_); }

  // Does nothing in a forked child, whose copy of our lock may be locked for ever.
  EpochStats read() const;

 private:
  using Ticks = std::atomic<Clock::rep>;
  static void add(Ticks* sum, Clock::duration time) {
    sum->fetch_add(time.count(), std::memory_order_relaxed);
  }
  // Only the first call counts.
  static void mark(Ticks* when) {
    Clock::rep never = 0;
    when->compare_exchange_strong(never, Clock::now().time_since_epoch().count());
  }

  const size_t threads_;
  const pid_t process_;
  const Clock::rep began_;
  Ticks work_ended_{0};  // 0: not yet
  Ticks ended_{0};
  Ticks reading_{0};
  Ticks decoding_{0};
  Ticks augmenting_{0};
  Ticks waiting_{0};
  Ticks consumer_waiting_{0};
  std::atomic<uint64_t> images_{0};
  std::atomic<uint64_t> batches_{0};

  mutable std::mutex mutex_;  // guards the members below
  std::vector<BadRecord> skipped_;
  std::vector<BadRecord> partial_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_EPOCH_METER_H_

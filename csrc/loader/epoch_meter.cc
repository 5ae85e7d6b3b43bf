#include "loader/epoch_meter.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace gluon_resnet {

EpochMeter::EpochMeter(size_t threads)
    : threads_(threads), process_(::getpid()), began_(Clock::now().time_since_epoch().count()) {}

void EpochMeter::worked(const WorkTimes& times) {
  add(&reading_, times.reading);
  add(&decoding_, times.decoding);
  add(&augmenting_, times.augmenting);
}

void EpochMeter::waited(Clock::time_point begin, Clock::time_point end) {
  const Clock::rep work_ended = work_ended_;  // read() adds the time after that
  if (work_ended != 0) end = std::min(end, Clock::time_point(Clock::duration(work_ended)));
  if (end > begin) add(&waiting_, end - begin);
}

void EpochMeter::handed_out(uint64_t images) {
  images_.fetch_add(images, std::memory_order_relaxed);
  batches_.fetch_add(1, std::memory_order_relaxed);
}

void EpochMeter::skipped(BadRecord record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  skipped_.push_back(std::move(record));
}

void EpochMeter::partial(BadRecord record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  partial_.push_back(std::move(record));
}

EpochStats EpochMeter::read() const {
  EpochStats stats;
  stats.threads = threads_;
  if (process_ != ::getpid()) return stats;
  const auto seconds = [](Clock::rep ticks) {
    return std::chrono::duration<double>(Clock::duration(ticks)).count();
  };
  stats.images = images_;
  stats.batches = batches_;
  stats.reading = seconds(reading_);
  stats.decoding = seconds(decoding_);
  stats.augmenting = seconds(augmenting_);
  stats.waiting = seconds(waiting_);
  stats.consumer_waiting = seconds(consumer_waiting_);
  const Clock::rep work_ended = work_ended_;
  Clock::rep end = ended_;
  if (end == 0) end = Clock::now().time_since_epoch().count();  // after the sums: they are not more
  stats.seconds = seconds(end - began_);
  if (work_ended != 0 && end > work_ended) {
    stats.waiting += static_cast<double>(threads_) * seconds(end - work_ended);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  stats.skipped = skipped_;
  stats.partial = partial_;
  return stats;
}

}  // namespace gluon_resnet

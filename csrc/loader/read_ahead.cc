#include "loader/read_ahead.h"

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>
#include <vector>

namespace gluon_resnet {
namespace {

// The time lost for each record asked for: several times what asking costs.
constexpr std::chrono::microseconds kPrice{10};
constexpr int64_t kMostCredit = 10000;

}  // namespace

ReadAhead::ReadAhead(const RowSource& source, const BatchOrder& order)
    : source_(source),
      order_(order),
      distance_(source.options.prefetch),
      credit_(static_cast<int64_t>(distance_ * source.options.batch_size)) {}

void ReadAhead::lost(Clock::duration time) {
  if (time < kPrice) return;
  const int64_t credit = credit_.fetch_add(time / kPrice, std::memory_order_relaxed);
  if (credit > kMostCredit) credit_.store(kMostCredit, std::memory_order_relaxed);
}

void ReadAhead::begin(uint64_t batch) {
  const uint64_t end = std::min(batch + 1 + distance_, order_.num_batches());
  uint64_t at = fetched_.load(std::memory_order_relaxed);
  while (credit_.load(std::memory_order_relaxed) > 0) {
    const uint64_t next = std::max(at, batch + 1);
    if (next >= end) return;
    if (!fetched_.compare_exchange_weak(at, next + 1, std::memory_order_relaxed)) continue;
    fetch(next);
    credit_.fetch_sub(static_cast<int64_t>(order_.real_rows(next)), std::memory_order_relaxed);
    at = next + 1;
  }
}

void ReadAhead::fetch(uint64_t batch) const {
  struct Extent {
    const RecordFile* file;
    uint64_t begin;
    uint64_t end;
  };
  std::vector<Extent> extents;
  for (uint64_t row = 0; row < order_.real_rows(batch); ++row) {
    const uint64_t number = order_.record(batch, row);
    ImageCache::Kept kept;
    if (source_.cache && source_.cache->find(number, &kept)) continue;
    const RecordSet::Place at = source_.records.place(number);
    const uint64_t offset = at.file->offset(at.index);
    extents.push_back({at.file, offset, offset + at.file->extent(at.index)});
  }
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.file, a.begin) < std::tie(b.file, b.begin);
  });
  for (size_t i = 0; i < extents.size();) {
    Extent run = extents[i];
    while (++i < extents.size() && extents[i].file == run.file && extents[i].begin <= run.end) {
      run.end = std::max(run.end, extents[i].end);
    }
    run.file->will_need(run.begin, run.end - run.begin);
  }
}

}  // namespace gluon_resnet

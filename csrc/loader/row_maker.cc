#include "loader/row_maker.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace gluon_resnet {
namespace {

// Longer than any read of data that are in memory.
constexpr std::chrono::microseconds kReadTime{100};
constexpr std::chrono::nanoseconds kByteTime{1};

size_t find_label_width(const RecordSet& records, bool skip_errors) {
  RecordBuffer buffer;
  for (uint64_t record = 0;; ++record) {
    const RecordSet::Place at = records.place(record);
    try {
      return at.file->read(at.index, &buffer).num_labels;
    } catch (const Error&) {
      if (!skip_errors || record + 1 == records.size()) throw;
    }
  }
}

}  // namespace

RowSource::RowSource(RecordSet set, const LoaderOptions& options)
    : records(std::move(set)),
      options(options),
      label_width(find_label_width(records, options.skip_errors)),
      cache(options.cache_bytes > 0
                ? std::make_unique<ImageCache>(records.size(), label_width, options.cache_bytes)
                : nullptr) {}

size_t RowSource::row_bytes() const {
  const auto size = static_cast<size_t>(options.plan.size);
  return 3 * size * size * element_size(options.dtype);
}

BatchOrder RowSource::order(uint64_t epoch) const {
  return {{records.size(), options.batch_size, options.rank, options.world_size},
          options.last_batch,
          options.shuffle,
          options.seed,
          epoch};
}

bool RowMaker::make(uint64_t epoch, uint64_t number, uint64_t row, BatchMemory* batch) {
  const LoaderOptions& options = source_.options;
  Random random(options.seed, epoch, number);
  void* const out = batch->data.get() + row * batch->row_bytes;
  float* const labels = &batch->labels[row * batch->label_width];

  ImageCache::Kept kept;
  if (source_.cache && source_.cache->find(number, &kept)) {
    std::copy_n(kept.labels, batch->label_width, labels);
    batch->ids[row] = kept.id;
    pipeline_.run(options.plan, kept.image, &random, options.dtype, options.layout, out);
    return true;
  }

  const Clock::time_point begin = Clock::now();
  const RecordSet::Place at = source_.records.place(number);
  const Record record = at.file->read(at.index, &buffer_);
  const Clock::time_point read = Clock::now();
  times_.reading += read - begin;
  const Clock::duration from_memory = kReadTime + at.file->extent(at.index) * kByteTime;
  if (read - begin > from_memory) times_.stalled += read - begin - from_memory;
  if (record.num_labels != batch->label_width) {
    throw Error(
        ErrorKind::kRecord,
        concat(at.file->path(), ": at offset ", at.file->offset(at.index), ": expected ",
               batch->label_width, " labels, like the first record, found ", record.num_labels));
  }
  std::copy_n(record.labels, record.num_labels, labels);
  batch->ids[row] = record.id;

  const ImageSize size = pipeline_.open(record.payload, record.payload_size);
  ImageView image;
  ImagePipeline::Part part;
  if (keep(number, record, size, &image)) {
    part = {draw_geometry(options.plan, size, &random), image};
  } else {
    part = pipeline_.decode(options.plan, &random);
  }
  times_.decoding += Clock::now() - read;
  const bool whole = !pipeline_.cut_short();
  pipeline_.augment(options.plan, part, &random, options.dtype, options.layout, out);
  return whole;
}

bool RowMaker::keep(uint64_t number, const Record& record, ImageSize size, ImageView* image) {
  ImageCache* const cache = source_.cache.get();
  if (cache == nullptr || !cache->wants(number, size)) return false;
  try {
    *image = pipeline_.decode();
    if (!pipeline_.cut_short()) {
      cache->put(number, record, *image);
      return true;
    }
  } catch (const Error&) {
    // As without a cache, the region reports what is wrong, or does not need the broken part.
  }
  cache->refuse(number);
  pipeline_.open(record.payload, record.payload_size);
  return false;
}

WorkTimes RowMaker::take_times() { return std::exchange(times_, {}); }

}  // namespace gluon_resnet

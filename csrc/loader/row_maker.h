// From a record to a row of a batch.
#ifndef GLUON_RESNET_ROW_MAKER_H_
#define GLUON_RESNET_ROW_MAKER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "loader/batch.h"
#include "loader/epoch_meter.h"
#include "loader/image_cache.h"
#include "loader/loader_options.h"
#include "records/record_set.h"
#include "transforms/image_pipeline.h"

namespace gluon_resnet {

// What rows are made from: the same for all epochs and workers.
struct RowSource {
  // Reads one record to learn the number of labels of each.
  RowSource(RecordSet set, const LoaderOptions& options);

  size_t row_bytes() const;
  BatchOrder order(uint64_t epoch) const;

  const RecordSet records;
  const LoaderOptions options;
  const size_t label_width;
  const std::unique_ptr<ImageCache> cache;  // null without a cache
};

// Reads, decodes and augments. Owns everything that a worker allocates once; used by one thread.
class RowMaker {
 public:
  explicit RowMaker(const RowSource& source) : source_(source), pipeline_(source.options.decode) {}

  // Says that make() will be called for this record next.
  void prepare(uint64_t record) const {
    if (source_.cache) source_.cache->prefetch(record);
  }

  // Writes the row that a record becomes in an epoch. Returns whether its image is complete, and
  // throws Error if there is none.
  bool make(uint64_t epoch, uint64_t record, uint64_t row, BatchMemory* batch);

  // The time that make() has spent on reading and decoding since the last call of this.
  WorkTimes take_times();

 private:
  // Decodes and keeps the whole image, if the cache wants it; returns whether it did.
  bool keep(uint64_t number, const Record& record, ImageSize size, ImageView* image);

  const RowSource& source_;
  RecordBuffer buffer_;
  ImagePipeline pipeline_;
  WorkTimes times_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_ROW_MAKER_H_

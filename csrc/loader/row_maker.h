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

// What rows are made of: the same for all epochs and workers.
struct RowSource {
  // Reads one record, to learn how many labels each has.
  RowSource(RecordSet set, const LoaderOptions& options);

  size_t row_bytes() const;
  BatchOrder order(uint64_t epoch) const;

  const RecordSet records;
  const LoaderOptions options;
  const size_t label_width;
  const std::unique_ptr<ImageCache> cache;  // null: none
};

// Reads, decodes and augments. Owns what a worker allocates once; used by one thread.
class RowMaker {
 public:
  explicit RowMaker(const RowSource& source) : source_(source), pipeline_(source.options.decode) {}

  // make() of this record is next.
  void prepare(uint64_t record) const {
    if (source_.cache) source_.cache->prefetch(record);
  }

  // Writes what becomes of a record in an epoch. Returns whether its image is whole, and throws
  // Error where there is none.
  bool make(uint64_t epoch, uint64_t record, uint64_t row, BatchMemory* batch);

  // The time that make() has spent reading and decoding since this was called last.
  WorkTimes take_times();

 private:
  // Decodes and keeps the whole image, where the cache wants it; whether it did.
  bool keep(uint64_t number, const Record& record, ImageSize size, ImageView* image);

  const RowSource& source_;
  RecordBuffer buffer_;
  ImagePipeline pipeline_;
  WorkTimes times_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_ROW_MAKER_H_

// Record files, and the batches to be made from them.
#ifndef GLUON_RESNET_BATCH_LOADER_H_
#define GLUON_RESNET_BATCH_LOADER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "loader/batch.h"
#include "loader/epoch_run.h"
#include "loader/loader_options.h"
#include "loader/row_maker.h"
#include "records/record_file.h"

namespace gluon_resnet {

// Does no work itself; that begins with start(). Used by one thread at a time.
class BatchLoader {
 public:
  BatchLoader(std::vector<std::shared_ptr<RecordFile>> files, const LoaderOptions& options);

  uint64_t num_records() const { return source_->records.size(); }
  uint64_t num_batches() const { return num_batches_; }  // per epoch, for this rank
  size_t label_width() const { return source_->label_width; }
  // A hash of all records, of which it reads some.
  uint64_t fingerprint() const { return source_->records.fingerprint(); }
  uint64_t num_cached() const { return source_->cache ? source_->cache->size() : 0; }  // records

  std::unique_ptr<EpochRun> start(uint64_t epoch, uint64_t first_batch, uint64_t step = 1);

 private:
  std::shared_ptr<BatchPool> make_pool() const;

  std::shared_ptr<const RowSource> source_;  // outlives this object while an epoch needs it
  std::shared_ptr<BatchPool> pool_;
  uint64_t num_batches_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_BATCH_LOADER_H_

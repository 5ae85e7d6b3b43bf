#include "loader/batch_loader.h"

#include <utility>

namespace gluon_resnet {

BatchLoader::BatchLoader(std::vector<std::shared_ptr<RecordFile>> files,
                         const LoaderOptions& options)
    : source_(std::make_shared<RowSource>(RecordSet(std::move(files)), options)),
      pool_(make_pool()),
      num_batches_(source_->order(0).num_batches()) {}

std::shared_ptr<BatchPool> BatchLoader::make_pool() const {
  const LoaderOptions& options = source_->options;
  // Two more than are in progress: the one that the consumer has, and the one before it, which it
  // lets go only after that. Memory that the pool does not keep, malloc may keep in every arena.
  return std::make_shared<BatchPool>(options.batch_size, source_->row_bytes(), source_->label_width,
                                     options.prefetch + 2);
}

std::unique_ptr<EpochRun> BatchLoader::start(uint64_t epoch, uint64_t first_batch, uint64_t step) {
  if (!pool_->in_own_process()) pool_ = make_pool();
  return std::make_unique<EpochRun>(source_, pool_, epoch, first_batch, step);
}

}  // namespace gluon_resnet

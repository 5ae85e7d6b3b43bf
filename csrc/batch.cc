#include "batch.h"

#include <unistd.h>

#include <new>
#include <utility>

namespace gluon_resnet {

BatchMemory::BatchMemory(size_t rows, size_t row_bytes, size_t label_width)
    : row_bytes(row_bytes), label_width(label_width), labels(rows * label_width), ids(rows) {
  constexpr size_t kAlignment = 64;
  const size_t bytes = (rows * row_bytes + kAlignment - 1) / kAlignment * kAlignment;
  data.reset(static_cast<uint8_t*>(std::aligned_alloc(kAlignment, bytes)));
  if (!data) throw std::bad_alloc();
}

BatchPool::BatchPool(size_t rows, size_t row_bytes, size_t label_width, size_t most_kept)
    : rows_(rows),
      row_bytes_(row_bytes),
      label_width_(label_width),
      most_kept_(most_kept),
      process_(::getpid()) {
  free_.reserve(most_kept);  // giving back must not need memory
}

BatchPool::~BatchPool() = default;

bool BatchPool::in_own_process() const { return ::getpid() == process_; }

std::shared_ptr<BatchMemory> BatchPool::take() {
  std::unique_ptr<BatchMemory> memory;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      memory = std::move(free_.back());
      free_.pop_back();
    }
  }
  if (!memory) memory = std::make_unique<BatchMemory>(rows_, row_bytes_, label_width_);
  return {memory.release(), [pool = weak_from_this()](BatchMemory* used) {
            std::unique_ptr<BatchMemory> owned(used);
            const std::shared_ptr<BatchPool> alive = pool.lock();
            if (alive && alive->in_own_process()) alive->give_back(std::move(owned));
          }};
}

void BatchPool::give_back(std::unique_ptr<BatchMemory> memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.size() < most_kept_) free_.push_back(std::move(memory));
}

}  // namespace gluon_resnet

#include "loader/batch.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
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

void BatchMemory::drop_rows(const std::vector<uint64_t>& dropped) {
  std::vector<bool> bad(rows, false);
  for (const uint64_t row : dropped) bad[row] = true;
  size_t good = 0;
  for (size_t row = 0; row < rows - pad; ++row) {
    if (!bad[row]) copy_row(row, good++);
  }
  pad = rows - good;
  for (size_t row = good; row < rows; ++row) {
    if (good > 0) {
      copy_row(row % good, row);
    } else {
      std::memset(data.get() + row * row_bytes, 0, row_bytes);
      std::fill_n(&labels[row * label_width], label_width, 0.0f);
    }
  }
}

void BatchMemory::copy_row(size_t from, size_t to) {
  if (from == to) return;
  std::memcpy(data.get() + to * row_bytes, data.get() + from * row_bytes, row_bytes);
  std::copy_n(&labels[from * label_width], label_width, &labels[to * label_width]);
  ids[to] = ids[from];
}

BatchPool::BatchPool(size_t rows, size_t row_bytes, size_t label_width, size_t most_kept)
    : rows_(rows),
      row_bytes_(row_bytes),
      label_width_(label_width),
      most_kept_(most_kept),
      process_(::getpid()) {
  free_.reserve(most_kept);  // giving back must not allocate
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

// The memory of batches: lent to a consumer for as long as it wants, then reused.
#ifndef GLUON_RESNET_BATCH_H_
#define GLUON_RESNET_BATCH_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

namespace gluon_resnet {

// The content of one batch; row r of `data`, `labels` and `ids` belong together.
struct BatchMemory {
  BatchMemory(size_t rows, size_t row_bytes, size_t label_width);

  struct Free {
    void operator()(uint8_t* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<uint8_t, Free> data;  // aligned to 64 bytes
  size_t row_bytes;
  size_t label_width;
  std::vector<float> labels;
  std::vector<uint64_t> ids;
  size_t rows = 0;  // in use
  size_t pad = 0;   // of these, rows at the end that are repetitions

  // Removes these rows: the others move up, and the freed rows become padding, which repeats the
  // others, or is 0 if there are none.
  void drop_rows(const std::vector<uint64_t>& dropped);

 private:
  void copy_row(size_t from, size_t to);
};

// Hands out BatchMemory of one size. The memory returns by itself when the last pointer to it is
// dropped, on any thread, even if the pool is gone by then. There is always one available: a
// consumer that keeps every batch makes the pool grow, and does not block the program.
class BatchPool : public std::enable_shared_from_this<BatchPool> {
 public:
  BatchPool(size_t rows, size_t row_bytes, size_t label_width, size_t most_kept);
  ~BatchPool();

  std::shared_ptr<BatchMemory> take();
  // False in a forked child, whose copy of our lock may be locked for ever.
  bool in_own_process() const;

 private:
  void give_back(std::unique_ptr<BatchMemory> memory);

  const size_t rows_;
  const size_t row_bytes_;
  const size_t label_width_;
  const size_t most_kept_;
  const pid_t process_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<BatchMemory>> free_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_BATCH_H_

#include "packing/checker.h"

#include <chrono>
#include <utility>

#include "base/error.h"
#include "images/decoder.h"
#include "images/image.h"

namespace gluon_resnet {

Checker::Checker(std::shared_ptr<RecordFile> file, size_t threads)
    : file_(std::move(file)), working_(threads) {
  try {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back(&Checker::work, this);
  } catch (...) {
    stop_and_join();
    throw;
  }
}

Checker::~Checker() { stop_and_join(); }

void Checker::stop_and_join() {
  next_ = file_->num_images();
  for (std::thread& thread : threads_) thread.join();
}

bool Checker::wait(int milliseconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  const bool ended = ended_.wait_for(lock, std::chrono::milliseconds(milliseconds),
                                     [this] { return working_ == 0; });
  if (error_) std::rethrow_exception(error_);
  return ended;
}

std::vector<Checker::Failure> Checker::failures() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Failure> failures;
  for (const auto& item : failures_) failures.push_back(item.second);
  return failures;
}

void Checker::work() {
  std::exception_ptr error;
  try {
    Decoder decoder;
    RecordBuffer buffer;
    for (size_t image; (image = next_++) < file_->num_images(); ++done_) {
      const size_t i = file_->image(image);
      try {
        const Record record = file_->read(i, &buffer);
        decoder.open(record.payload, record.payload_size);
        decoder.verify();
      } catch (const Error& wrong) {
        const std::lock_guard<std::mutex> lock(mutex_);
        failures_.emplace(i, Failure{file_->key(i), file_->offset(i), wrong.what()});
      }
    }
  } catch (...) {
    error = std::current_exception();
    next_ = file_->num_images();  // the other workers need not continue
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (error && !error_) error_ = error;
  --working_;
  ended_.notify_all();
}

}  // namespace gluon_resnet

// Checking: every image of a record file is read and decoded, in parallel.
#ifndef GLUON_RESNET_CHECKER_H_
#define GLUON_RESNET_CHECKER_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "records/record_file.h"

namespace gluon_resnet {

// For use by one thread; it owns its worker threads.
class Checker {
 public:
  struct Failure {
    int64_t key;
    uint64_t offset;
    std::string reason;
  };

  Checker(std::shared_ptr<RecordFile> file, size_t threads);
  ~Checker();  // stops the workers
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // Waits up to `milliseconds` for the end, and returns whether every record has been checked.
  // Throws errors that are not the file's fault.
  bool wait(int milliseconds);

  size_t done() const { return done_; }
  std::vector<Failure> failures() const;  // so far, in the order of the index

 private:
  void work();
  void stop_and_join();

  const std::shared_ptr<RecordFile> file_;
  std::atomic<size_t> next_{0};
  std::atomic<size_t> done_{0};

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable ended_;
  size_t working_ = 0;
  std::exception_ptr error_;
  std::map<size_t, Failure> failures_;  // by position

  std::vector<std::thread> threads_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_CHECKER_H_

// The bytes of a .rec file, read at given positions.
#ifndef GLUON_RESNET_RECORD_BYTES_H_
#define GLUON_RESNET_RECORD_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/regular_file.h"

namespace gluon_resnet {

// Reads share no offset: const members may be called from any number of threads and after a fork.
class RecordBytes {
 public:
  explicit RecordBytes(const std::string& path);  // throws if it is not a regular file, or empty

  const std::string& path() const { return path_; }
  uint64_t size() const { return file_.size(); }  // at the time of opening

  void read(uint64_t offset, uint8_t* out, size_t size) const;

  // Asks the system to start fetching this part of the file, without waiting for it.
  void will_need(uint64_t offset, uint64_t size) const;

  // Throws an Error about the file at `offset`.
  [[noreturn]] void fail(uint64_t offset, const std::string& message) const;

 private:
  const std::string path_;
  const RegularFile file_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RECORD_BYTES_H_

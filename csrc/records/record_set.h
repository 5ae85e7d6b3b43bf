// Several record files as one sequence of records.
#ifndef GLUON_RESNET_RECORD_SET_H_
#define GLUON_RESNET_RECORD_SET_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/random.h"
#include "records/record_file.h"

namespace gluon_resnet {

// Can be used by any number of threads.
class RecordSet {
 public:
  explicit RecordSet(std::vector<std::shared_ptr<RecordFile>> files) : files_(std::move(files)) {
    for (const auto& file : files_) {
      starts_.push_back(size_);
      size_ += file->num_images();
    }
  }

  struct Place {
    const RecordFile* file;
    size_t index;
  };
  Place place(uint64_t record) const {
    const auto after = std::upper_bound(starts_.begin(), starts_.end(), record);
    const auto file = static_cast<size_t>(after - starts_.begin()) - 1;
    return {files_[file].get(), files_[file]->image(static_cast<size_t>(record - starts_[file]))};
  }

  uint64_t size() const { return size_; }

  // 64 bits that distinguish these records from others; see RecordFile.
  uint64_t fingerprint() const {
    uint64_t hash = 0;
    for (const auto& file : files_) hash = mix((hash ^ file->fingerprint()) + kGolden);
    return hash;
  }

 private:
  std::vector<std::shared_ptr<RecordFile>> files_;
  std::vector<uint64_t> starts_;  // the first record of each file
  uint64_t size_ = 0;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RECORD_SET_H_

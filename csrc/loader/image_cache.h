// Decoded images, kept in memory from one epoch to the next.
#ifndef GLUON_RESNET_IMAGE_CACHE_H_
#define GLUON_RESNET_IMAGE_CACHE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "images/image.h"
#include "records/record_file.h"

namespace gluon_resnet {

// What is kept of each record of a set, as far as there is room: its pixels, id and labels. It
// stays where it is until the cache goes. All members may be called by any thread, and nothing
// waits: a record's entry is written once and then published by one atomic store. A forked child
// has what its parent had, and keeps more for itself.
class ImageCache {
 public:
  // Takes addresses for `bytes` of entries now, and memory when it is written to. Every record has
  // `label_width` labels.
  ImageCache(uint64_t records, size_t label_width, size_t bytes);
  ~ImageCache();
  ImageCache(const ImageCache&) = delete;
  ImageCache& operator=(const ImageCache&) = delete;

  struct Kept {
    ImageView image;
    uint64_t id;
    const float* labels;
  };
  // Has the processor fetch what find() and the reader of a small image will need.
  void prefetch(uint64_t record) const;
  // Whether it has the record.
  bool find(uint64_t record, Kept* kept) const;

  // Whether put() of an RGB image of this size would do anything.
  bool wants(uint64_t record, ImageSize size) const;
  // Keeps what is read of a record and its whole image, if it fits.
  void put(uint64_t record, const Record& read, const ImageView& image);
  // The record is not to be asked for again.
  void refuse(uint64_t record);

  uint64_t size() const { return size_.load(std::memory_order_relaxed); }  // in records

 private:
  struct Header {
    int width;
    int height;
    uint64_t id;
  };
  // A record's slot is 0, one of these, or where in memory_ its entry starts; the slots themselves
  // stand in front of all entries.
  using Slot = std::atomic<uint64_t>;
  enum State : uint64_t { kUnknown = 0, kRefused = 1, kBeingWritten = 2 };
  static constexpr uint64_t kAlignment = 64;

  Slot& slot(uint64_t record) const { return reinterpret_cast<Slot*>(memory_)[record]; }
  uint64_t entry_bytes(ImageSize size) const;

  const size_t labels_bytes_;
  const uint64_t end_;  // of memory_, in bytes
  std::atomic<uint64_t> used_;
  std::atomic<uint64_t> size_{0};
  uint8_t* memory_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_IMAGE_CACHE_H_

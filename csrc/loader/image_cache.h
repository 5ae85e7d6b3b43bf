// Decoded images, kept in memory from one epoch to the next.
#ifndef GLUON_RESNET_IMAGE_CACHE_H_
#define GLUON_RESNET_IMAGE_CACHE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "images/image.h"
#include "records/record_file.h"

namespace gluon_resnet {

// Keeps the pixels, id and labels of as many of a set's records as there is room for. They stay in
// place until the cache is destroyed. All members may be called by any thread and never wait: a
// record's entry is written once and then published by an atomic store. A forked child has what
// its parent had, and keeps additions to itself.
class ImageCache {
 public:
  // Reserves addresses for `bytes` of entries now, and allocates memory as it is written to. Every
  // record has `label_width` labels.
  ImageCache(uint64_t records, size_t label_width, size_t bytes);
  ~ImageCache();
  ImageCache(const ImageCache&) = delete;
  ImageCache& operator=(const ImageCache&) = delete;

  struct Kept {
    ImageView image;
    uint64_t id;
    const float* labels;
  };
  // Makes the processor prefetch what find() and the reader of a small image will need.
  void prefetch(uint64_t record) const;
  // Whether the record is in the cache.
  bool find(uint64_t record, Kept* kept) const;

  // Whether put() of an RGB image of this size would keep it.
  bool wants(uint64_t record, ImageSize size) const;
  // Keeps a record's id, labels and whole image, if there is room.
  void put(uint64_t record, const Record& read, const ImageView& image);
  // Marks the record as one not to be asked for again.
  void refuse(uint64_t record);

  uint64_t size() const { return size_.load(std::memory_order_relaxed); }  // in records

 private:
  struct Header {
    int width;
    int height;
    uint64_t id;
  };
  // A record's slot is 0, one of these, or the place in memory_ where its entry starts; the slots
  // themselves come before all entries.
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

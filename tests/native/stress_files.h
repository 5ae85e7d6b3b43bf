// The record files that the stress program reads: small pictures, some of them damaged.
#ifndef GLUON_RESNET_TESTS_STRESS_FILES_H_
#define GLUON_RESNET_TESTS_STRESS_FILES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "images/image.h"
#include "records/record_file.h"

namespace gluon_resnet {

struct StressFile {
  std::string path;
  std::string index_path;
  std::shared_ptr<RecordFile> records;
  uint64_t first_id;  // record i has the id first_id + i, whatever its damage
};

// The first file has no damage; of the others the first record has none. Ids are unique.
std::vector<StressFile> make_stress_files(const std::string& folder, uint64_t seed);

// Of at most 48x48 pixels.
Image draw_picture(Random* random);

// A JPEG or PNG, which one in four times is damaged or no image at all.
std::vector<uint8_t> draw_payload(bool damage, Random* random);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_TESTS_STRESS_FILES_H_

/* Visibility of the public functions: everything else in libaurora.so is hidden. */
#ifndef AURORA_EXPORT_H
#define AURORA_EXPORT_H

#define AUR_API __attribute__((visibility("default")))
#define AUR_CHECKED __attribute__((warn_unused_result))

#endif

# cmake --install: headers, the CMake package (find_package(rota)), rota.pc and the tool rota-lint.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Headers only, so the package files are independent of the architecture and belong in share/.
set(rota_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/rota")
set(rota_pkgconfig_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")

# liburing's target is defined by Findliburing.cmake, which the package brings along, so the export only names it.
install(TARGETS rota EXPORT rota FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT rota NAMESPACE rota:: FILE rotaTargets.cmake DESTINATION "${rota_package_dir}")

configure_package_config_file(cmake/rotaConfig.cmake.in rotaConfig.cmake INSTALL_DESTINATION "${rota_package_dir}")
write_basic_package_version_file(rotaConfigVersion.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/rotaConfig.cmake" "${PROJECT_BINARY_DIR}/rotaConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/Findliburing.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/rota_compiler_notice.cmake"
        DESTINATION "${rota_package_dir}")

# The prefix is given relative to rota.pc, so that `cmake --install --prefix` and moved trees work.
file(RELATIVE_PATH rota_pc_to_prefix "/${rota_pkgconfig_dir}" "/")
if(liburing_FOUND)
  set(rota_pc_requires liburing)
  set(rota_pc_has_liburing 1)
else()
  set(rota_pc_requires "")
  set(rota_pc_has_liburing 0)
endif()
configure_file(cmake/rota.pc.in rota.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/rota.pc" DESTINATION "${rota_pkgconfig_dir}")

install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/rota")
if(EXISTS "${PROJECT_SOURCE_DIR}/tools/rota-lint")
  install(PROGRAMS tools/rota-lint DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

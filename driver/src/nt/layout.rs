//! Where every field lies, for x64 and x86, once.
//!
//! A line is `RustType = C_TYPE, size on x64, size on x86;` or `RustType.field = "C.Field", offset on x64, offset on
//! x86;`. The compiler checks each against the types of this crate; `scripts/check-layouts` turns the same lines into C
//! and checks them against mingw-w64's headers. A size of 0 is not compared: of such a type only the beginning is
//! defined here.

use super::information::*;
use super::irp::*;
use super::objects::*;
use super::*;

const WIDTH_64: bool = cfg!(target_pointer_width = "64");

macro_rules! layouts {
    ($($rust:ident $(. $field:ident)* = $c:literal, $x64:literal, $x86:literal;)+) => {
        $(layouts!(@check $rust $(. $field)* ; if WIDTH_64 { $x64 } else { $x86 });)+
    };
    (@check $rust:ident ; $want:expr) => {
        const _: () = assert!($want == 0 || size_of::<$rust>() == $want, concat!("size of ", stringify!($rust)));
    };
    (@check $rust:ident . $($field:ident).+ ; $want:expr) => {
        const _: () = assert!(
            core::mem::offset_of!($rust, $($field).+) == $want,
            concat!("offset of ", stringify!($rust $(. $field)+)),
        );
    };
}

layouts! {
    UnicodeString = "UNICODE_STRING", 16, 8;
    UnicodeString.length = "Length", 0, 0;
    UnicodeString.maximum_length = "MaximumLength", 2, 2;
    UnicodeString.buffer = "Buffer", 8, 4;
    ListEntry = "LIST_ENTRY", 16, 8;
    ListEntry.next = "Flink", 0, 0;
    ListEntry.previous = "Blink", 8, 4;
    IoStatusBlock = "IO_STATUS_BLOCK", 16, 8;
    IoStatusBlock.status = "Status", 0, 0;
    IoStatusBlock.information = "Information", 8, 4;
    ObjectAttributes = "OBJECT_ATTRIBUTES", 48, 24;
    ObjectAttributes.length = "Length", 0, 0;
    ObjectAttributes.root_directory = "RootDirectory", 8, 4;
    ObjectAttributes.object_name = "ObjectName", 16, 8;
    ObjectAttributes.attributes = "Attributes", 24, 12;
    ObjectAttributes.security_descriptor = "SecurityDescriptor", 32, 16;
    ObjectAttributes.security_quality_of_service = "SecurityQualityOfService", 40, 20;
    KEvent = "KEVENT", 24, 16;

    DriverObject = "DRIVER_OBJECT", 336, 168;
    DriverObject.kind = "Type", 0, 0;
    DriverObject.size = "Size", 2, 2;
    DriverObject.device_object = "DeviceObject", 8, 4;
    DriverObject.flags = "Flags", 16, 8;
    DriverObject.driver_start = "DriverStart", 24, 12;
    DriverObject.driver_size = "DriverSize", 32, 16;
    DriverObject.driver_section = "DriverSection", 40, 20;
    DriverObject.driver_extension = "DriverExtension", 48, 24;
    DriverObject.driver_name = "DriverName", 56, 28;
    DriverObject.hardware_database = "HardwareDatabase", 72, 36;
    DriverObject.fast_io_dispatch = "FastIoDispatch", 80, 40;
    DriverObject.driver_init = "DriverInit", 88, 44;
    DriverObject.driver_start_io = "DriverStartIo", 96, 48;
    DriverObject.driver_unload = "DriverUnload", 104, 52;
    DriverObject.major_function = "MajorFunction", 112, 56;

    // Nobody but the kernel makes one; mingw-w64 forgets that x64 aligns it to 16.
    DeviceObject = "DEVICE_OBJECT", 0, 0;
    DeviceObject.kind = "Type", 0, 0;
    DeviceObject.size = "Size", 2, 2;
    DeviceObject.reference_count = "ReferenceCount", 4, 4;
    DeviceObject.driver_object = "DriverObject", 8, 8;
    DeviceObject.next_device = "NextDevice", 16, 12;
    DeviceObject.attached_device = "AttachedDevice", 24, 16;
    DeviceObject.current_irp = "CurrentIrp", 32, 20;
    DeviceObject.timer = "Timer", 40, 24;
    DeviceObject.flags = "Flags", 48, 28;
    DeviceObject.characteristics = "Characteristics", 52, 32;
    DeviceObject.vpb = "Vpb", 56, 36;
    DeviceObject.device_extension = "DeviceExtension", 64, 40;
    DeviceObject.device_type = "DeviceType", 72, 44;
    DeviceObject.stack_size = "StackSize", 76, 48;
    DeviceObject.alignment_requirement = "AlignmentRequirement", 152, 92;
    DeviceObject.active_thread_count = "ActiveThreadCount", 264, 148;
    DeviceObject.security_descriptor = "SecurityDescriptor", 272, 152;
    DeviceObject.sector_size = "SectorSize", 304, 172;
    DeviceObject.spare = "Spare1", 306, 174;
    DeviceObject.device_object_extension = "DeviceObjectExtension", 312, 176;

    Vpb = "VPB", 0, 0;
    Vpb.kind = "Type", 0, 0;
    Vpb.size = "Size", 2, 2;
    Vpb.flags = "Flags", 4, 4;
    Vpb.volume_label_length = "VolumeLabelLength", 6, 6;
    Vpb.device_object = "DeviceObject", 8, 8;

    FileObject = "FILE_OBJECT", 0, 0;
    FileObject.kind = "Type", 0, 0;
    FileObject.size = "Size", 2, 2;
    FileObject.device_object = "DeviceObject", 8, 4;
    FileObject.vpb = "Vpb", 16, 8;
    FileObject.fs_context2 = "FsContext2", 32, 16;
    FileObject.flags = "Flags", 80, 44;

    RemoveLock = "IO_REMOVE_LOCK", 32, 24;

    Irp = "IRP", 208, 112;
    Irp.kind = "Type", 0, 0;
    Irp.size = "Size", 2, 2;
    Irp.mdl_address = "MdlAddress", 8, 4;
    Irp.flags = "Flags", 16, 8;
    Irp.system_buffer = "AssociatedIrp.SystemBuffer", 24, 12;
    Irp.thread_list_entry = "ThreadListEntry", 32, 16;
    Irp.io_status = "IoStatus", 48, 24;
    Irp.requestor_mode = "RequestorMode", 64, 32;
    Irp.pending_returned = "PendingReturned", 65, 33;
    Irp.stack_count = "StackCount", 66, 34;
    Irp.current_location = "CurrentLocation", 67, 35;
    Irp.cancel = "Cancel", 68, 36;
    Irp.cancel_irql = "CancelIrql", 69, 37;
    Irp.apc_environment = "ApcEnvironment", 70, 38;
    Irp.allocation_flags = "AllocationFlags", 71, 39;
    Irp.user_iosb = "UserIosb", 72, 40;
    Irp.user_event = "UserEvent", 80, 44;
    Irp.cancel_routine = "CancelRoutine", 104, 56;
    Irp.user_buffer = "UserBuffer", 112, 60;
    Irp.tail.driver_context = "Tail.Overlay.DriverContext", 120, 64;
    Irp.tail.thread = "Tail.Overlay.Thread", 152, 80;
    Irp.tail.auxiliary_buffer = "Tail.Overlay.AuxiliaryBuffer", 160, 84;
    Irp.tail.list_entry = "Tail.Overlay.ListEntry", 168, 88;
    Irp.tail.current_stack_location = "Tail.Overlay.CurrentStackLocation", 184, 96;
    Irp.tail.original_file_object = "Tail.Overlay.OriginalFileObject", 192, 100;

    IoStackLocation = "IO_STACK_LOCATION", 72, 36;
    IoStackLocation.major_function = "MajorFunction", 0, 0;
    IoStackLocation.minor_function = "MinorFunction", 1, 1;
    IoStackLocation.flags = "Flags", 2, 2;
    IoStackLocation.control = "Control", 3, 3;
    IoStackLocation.parameters = "Parameters", 8, 4;
    IoStackLocation.parameters.create.security_context = "Parameters.Create.SecurityContext", 8, 4;
    IoStackLocation.parameters.create.options = "Parameters.Create.Options", 16, 8;
    IoStackLocation.parameters.transfer.length = "Parameters.Read.Length", 8, 4;
    IoStackLocation.parameters.transfer.key = "Parameters.Read.Key", 16, 8;
    IoStackLocation.parameters.transfer.byte_offset = "Parameters.Read.ByteOffset", 24, 12;
    IoStackLocation.parameters.transfer.length = "Parameters.Write.Length", 8, 4;
    IoStackLocation.parameters.transfer.key = "Parameters.Write.Key", 16, 8;
    IoStackLocation.parameters.transfer.byte_offset = "Parameters.Write.ByteOffset", 24, 12;
    IoStackLocation.parameters.device_control.output_buffer_length = "Parameters.DeviceIoControl.OutputBufferLength", 8, 4;
    IoStackLocation.parameters.device_control.input_buffer_length = "Parameters.DeviceIoControl.InputBufferLength", 16, 8;
    IoStackLocation.parameters.device_control.io_control_code = "Parameters.DeviceIoControl.IoControlCode", 24, 12;
    IoStackLocation.parameters.device_control.type3_input_buffer = "Parameters.DeviceIoControl.Type3InputBuffer", 32, 16;
    IoStackLocation.parameters.power.kind = "Parameters.Power.Type", 16, 8;
    IoStackLocation.parameters.power.state = "Parameters.Power.State", 24, 12;
    IoStackLocation.parameters.power.shutdown_type = "Parameters.Power.ShutdownType", 32, 16;
    IoStackLocation.device_object = "DeviceObject", 40, 20;
    IoStackLocation.file_object = "FileObject", 48, 24;
    IoStackLocation.completion_routine = "CompletionRoutine", 56, 28;
    IoStackLocation.context = "Context", 64, 32;

    IoSecurityContext = "IO_SECURITY_CONTEXT", 24, 16;
    IoSecurityContext.security_qos = "SecurityQos", 0, 0;
    IoSecurityContext.access_state = "AccessState", 8, 4;
    IoSecurityContext.desired_access = "DesiredAccess", 16, 8;
    IoSecurityContext.full_create_options = "FullCreateOptions", 20, 12;
    AccessState = "ACCESS_STATE", 0, 0;
    AccessState.subject_security_context = "SubjectSecurityContext", 32, 28;
    SecuritySubjectContext = "SECURITY_SUBJECT_CONTEXT", 32, 16;
    SecuritySubjectContext.client_token = "ClientToken", 0, 0;
    SecuritySubjectContext.impersonation_level = "ImpersonationLevel", 8, 4;
    SecuritySubjectContext.primary_token = "PrimaryToken", 16, 8;
    SecuritySubjectContext.process_audit_id = "ProcessAuditId", 24, 12;

    Mdl = "MDL", 48, 28;
    Mdl.next = "Next", 0, 0;
    Mdl.size = "Size", 8, 4;
    Mdl.mdl_flags = "MdlFlags", 10, 6;
    Mdl.process = "Process", 16, 8;
    Mdl.mapped_system_va = "MappedSystemVa", 24, 12;
    Mdl.start_va = "StartVa", 32, 16;
    Mdl.byte_count = "ByteCount", 40, 20;
    Mdl.byte_offset = "ByteOffset", 44, 24;

    FileStandardInformation = "FILE_STANDARD_INFORMATION", 24, 24;
    FileStandardInformation.allocation_size = "AllocationSize", 0, 0;
    FileStandardInformation.end_of_file = "EndOfFile", 8, 8;
    FileStandardInformation.number_of_links = "NumberOfLinks", 16, 16;
    FileStandardInformation.delete_pending = "DeletePending", 20, 20;
    FileStandardInformation.directory = "Directory", 21, 21;
    FileBasicInformation = "FILE_BASIC_INFORMATION", 40, 40;
    FileBasicInformation.creation_time = "CreationTime", 0, 0;
    FileBasicInformation.last_access_time = "LastAccessTime", 8, 8;
    FileBasicInformation.last_write_time = "LastWriteTime", 16, 16;
    FileBasicInformation.change_time = "ChangeTime", 24, 24;
    FileBasicInformation.file_attributes = "FileAttributes", 32, 32;
    FileAlignmentInformation = "FILE_ALIGNMENT_INFORMATION", 4, 4;
    FileAlignmentInformation.alignment_requirement = "AlignmentRequirement", 0, 0;
    FileFsDeviceInformation = "FILE_FS_DEVICE_INFORMATION", 8, 8;
    FileFsDeviceInformation.device_type = "DeviceType", 0, 0;
    FileFsDeviceInformation.characteristics = "Characteristics", 4, 4;
    FileFsAttributeInformation = "FILE_FS_ATTRIBUTE_INFORMATION", 0, 0;
    FileFsAttributeInformation.file_system_attributes = "FileSystemAttributes", 0, 0;
    FileFsAttributeInformation.maximum_component_name_length = "MaximumComponentNameLength", 4, 4;
    FileFsAttributeInformation.file_system_name_length = "FileSystemNameLength", 8, 8;
    FileFsAttributeInformation.file_system_name = "FileSystemName", 12, 12;
    FileFsSizeInformation = "FILE_FS_SIZE_INFORMATION", 24, 24;
    FileFsSizeInformation.total_allocation_units = "TotalAllocationUnits", 0, 0;
    FileFsSizeInformation.available_allocation_units = "AvailableAllocationUnits", 8, 8;
    FileFsSizeInformation.sectors_per_allocation_unit = "SectorsPerAllocationUnit", 16, 16;
    FileFsSizeInformation.bytes_per_sector = "BytesPerSector", 20, 20;
    KeyValuePartialInformation = "KEY_VALUE_PARTIAL_INFORMATION", 16, 16;
    KeyValuePartialInformation.title_index = "TitleIndex", 0, 0;
    KeyValuePartialInformation.kind = "Type", 4, 4;
    KeyValuePartialInformation.data_length = "DataLength", 8, 8;
    KeyValuePartialInformation.data = "Data", 12, 12;
    OsVersionInfo = "RTL_OSVERSIONINFOW", 276, 276;
    OsVersionInfo.size = "dwOSVersionInfoSize", 0, 0;
    OsVersionInfo.major = "dwMajorVersion", 4, 4;
    OsVersionInfo.minor = "dwMinorVersion", 8, 8;
    OsVersionInfo.build = "dwBuildNumber", 12, 12;
    OsVersionInfo.platform = "dwPlatformId", 16, 16;
    OsVersionInfo.service_pack = "szCSDVersion", 20, 20;
}
